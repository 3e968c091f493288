"""Fill in the missing cells of a table with a trained run.

The same as `pyro-vae impute`:

python scripts/impute.py runs/titanic titanic.csv -o titanic_complete.csv
python scripts/impute.py runs/titanic titanic.csv -o titanic_complete.csv --draws 5
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("impute")
