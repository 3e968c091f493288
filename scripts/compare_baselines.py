"""Compare exact linear models with variational autoencoders on one data set, in one unit.

The same as `pyro-vae compare-baselines`:

python scripts/compare_baselines.py --dataset digits --latent-dim 8
python scripts/compare_baselines.py --dataset mnist --latent-dim 20 --out comparison
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("compare-baselines")
