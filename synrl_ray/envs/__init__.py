"""Environments and how they are made. Knows nothing of agents."""
