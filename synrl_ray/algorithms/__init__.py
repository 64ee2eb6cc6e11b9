"""Algorithms of the experiments, a folder for each: RLlib configuration, learner, loss. The table lists them."""
