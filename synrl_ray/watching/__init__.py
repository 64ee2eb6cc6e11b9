"""A policy at play, live: on a page of this machine, in a window, or in the terminal."""
