"""The benchmarks of `scripts/benchmark.py`, and the contenders that they time."""
