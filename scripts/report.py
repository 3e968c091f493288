"""Write the report of a finished run: one HTML file that opens without a network.

The same as `pyro-vae report`:

python scripts/report.py runs/digits-gaussian-001
python scripts/report.py runs/digits-gaussian-001 -o digits.html
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("report")
