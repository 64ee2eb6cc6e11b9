"""Action distributions on plain tensors: what a network's outputs say of an action."""
