"""Keys of windows and terminals."""

from __future__ import annotations

from synrl_ray.watching.controls import Controls

HELP = "space pauses, n next episode, + faster, - slower, q ends"


def press(controls: Controls, key: str) -> None:
    """Do what a key stands for, if anything."""
    if key == " ":
        controls.toggle_pause()
    elif key == "n":
        controls.next_episode()
    elif key in ("+", "="):
        controls.faster(2.0)
    elif key == "-":
        controls.faster(0.5)
    elif key in ("q", "\x1b"):
        controls.close()
