"""`report.html`: a self-contained report of a run."""
