"""Uses of a trained run: each reads a run folder and rows, and writes a file."""
