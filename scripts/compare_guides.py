"""Compare guides of one model: the bound and the gaps of each family of posteriors, in nats.

The same as `pyro-vae compare-guides`:

python scripts/compare_guides.py --dataset digits --latent-dim 8
python scripts/compare_guides.py --run runs/digits-1 --guides diagonal iaf --seeds 0 1 2
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("compare-guides")
