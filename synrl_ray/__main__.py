"""``python -m synrl_ray``."""

from synrl_ray.cli import main

main()
