"""Agents that learn where they act, by local rules."""
