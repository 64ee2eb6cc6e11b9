"""Initialisations from which few gradient steps solve a new task."""
