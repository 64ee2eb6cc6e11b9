"""Reinforcement learning with gradients, by RLlib."""
