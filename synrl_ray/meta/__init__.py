"""Meta-learning; so far, how learn2learn's MAML is loaded."""
