"""Deep Q-learning: RLlib's, on a replay of transitions in arrays."""
