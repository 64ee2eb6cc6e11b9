"""Policies whose weights change by evolved Hebbian rules while they act."""
