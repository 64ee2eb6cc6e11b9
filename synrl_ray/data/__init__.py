"""Data sets: where they lie, how they are checked and fetched."""
