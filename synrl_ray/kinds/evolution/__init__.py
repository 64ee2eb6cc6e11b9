"""Policies that are evolved: Hebbian rules, and fixed weights as their control."""
