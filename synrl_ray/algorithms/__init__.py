"""Algorithms of the experiments, as RLlib algorithm configurations and learners."""
