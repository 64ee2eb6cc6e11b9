"""Meta-learning: task distributions, MAML and its Tune trainable."""
