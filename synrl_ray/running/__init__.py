"""Running experiments: folders, training, resuming, evaluating, showing progress."""
