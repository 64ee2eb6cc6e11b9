"""Watching from Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from synrl_ray.api.places import policy_folder
from synrl_ray.errors import UserError
from synrl_ray.evaluation.playing import has_display
from synrl_ray.kinds import kind_of_policy
from synrl_ray.kinds.acting import factory_of
from synrl_ray.policies.description import read_description
from synrl_ray.reporting.words import plain
from synrl_ray.running.kind import EvaluationOptions
from synrl_ray.watching.controls import Controls
from synrl_ray.watching.in_terminal import Terminal
from synrl_ray.watching.live import Moment, play
from synrl_ray.watching.page import Page
from synrl_ray.watching.window import Window

ScreenKind = Literal["window", "page", "terminal"]


def watch(
    run_dir: str | Path,
    /,
    *,
    on: ScreenKind | None = None,
    seed: int | None = None,
    port: int = 0,
    trust: bool = False,
) -> None:
    """Watch a policy play greedy episodes, until it is closed or interrupted.

    Args:
        run_dir: a run's folder, one under ``experiments/results``, or the URL of a copy; or a packed policy.
        on: a window, the default where there is a display; or a page that only this machine sees, with the spikes of
            each layer beside the frames in both; or the terminal.
        seed: of the first episode; each has the next one.
        port: of the page; any that is free by default.
        trust: as of :func:`synrl_ray.evaluate`.

    Raises:
        UserError: for a damaged folder, what does not act, an environment that cannot be made, gives no pictures or is
            not trusted, or a screen that is not there.
    """
    if on is not None and on not in get_args(ScreenKind):
        raise UserError(f"--on {on} is no screen", f"choose from {', '.join(get_args(ScreenKind))}")
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port} is no port", "it lies between 1 and 65535, or is 0 for any that is free")
    options = EvaluationOptions(seed=seed, trust=trust)
    with policy_folder(str(run_dir)) as folder:
        description = read_description(folder)
        policy, environment, first = kind_of_policy(description).player(description, options)
    make = factory_of(environment, render_mode="rgb_array")
    title = plain(description.get("experiment") or environment.id)
    with _screen(on or ("window" if has_display() else "page"), title, port) as (screen, controls, tell):
        play(policy, make, screen, controls, seed=first, ended=tell)


@contextmanager
def _screen(on: ScreenKind, title: str, port: int) -> Iterator[tuple[Any, Controls, Any]]:
    """The screen, its controls, and what hears of episodes that have ended."""
    if on == "window" and not has_display():
        raise UserError("there is no display for a window", "watch it elsewhere: --on page")
    controls = Controls()
    screen: Page | Window | Terminal
    if on == "page":
        screen = Page(controls, title, port)
        print(f"{title}: {screen.url} (Ctrl-C ends it)", flush=True)
    else:
        screen = Window(controls, title) if on == "window" else Terminal(controls)
    with closing(screen):
        yield screen, controls, _quiet if on == "terminal" else _told


def _told(moment: Moment) -> None:
    print(moment.words(), flush=True)


def _quiet(moment: Moment) -> None:
    """It is on the screen already."""
