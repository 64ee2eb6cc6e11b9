"""Importance-weighted actor-learner: sampling and learning side by side."""
