"""Rank rows by how strange a trained run finds them, and name the cells that make them so.

The same as `pyro-vae anomalies`:

python scripts/anomalies.py runs/wine new_wines.csv
python scripts/anomalies.py runs/mammography mammography.csv --label label --anomaly 1
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("anomalies")
