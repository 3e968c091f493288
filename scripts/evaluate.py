"""Score rows with a trained run: log p(x) of each, with its error and diagnostics.

The same as `pyro-vae evaluate`:

python scripts/evaluate.py runs/digits-gaussian-001
python scripts/evaluate.py runs/digits-gaussian-001 --data new_rows.npy --num-samples 1000 --ais --gaps
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("evaluate")
