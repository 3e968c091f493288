"""`report.html`: a run in one file that opens without a network."""
