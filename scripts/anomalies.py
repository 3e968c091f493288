"""Rank rows by how unusual they are under a trained run, and name their unusual cells.

The same as `pyro-vae anomalies`:

python scripts/anomalies.py runs/wine new_wines.csv
python scripts/anomalies.py runs/mammography mammography.csv --label label --anomaly 1
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("anomalies")
