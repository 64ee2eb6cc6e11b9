"""Agents that learn where they act, by local rules and without gradients: a folder for each rule."""
