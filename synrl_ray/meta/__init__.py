"""Meta-learning: task distributions, MAML, its Tune trainable."""
