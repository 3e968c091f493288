"""What the scripts call: configuration, training, run folders, evaluation, comparison, scoring."""
