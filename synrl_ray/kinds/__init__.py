"""Kinds of runs: a folder each."""
