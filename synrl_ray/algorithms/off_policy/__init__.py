"""What algorithms share that learn from a replay of transitions, in arrays."""
