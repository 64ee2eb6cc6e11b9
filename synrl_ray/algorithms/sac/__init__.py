"""Soft actor-critic: RLlib's, on a replay of transitions in arrays."""
