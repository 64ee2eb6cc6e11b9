"""A short film of a policy that acts, for the page."""

from __future__ import annotations

import tempfile
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple

from synrl_ray.errors import UserError
from synrl_ray.evaluation.video import record_episode
from synrl_ray.kinds.acting import factory_of
from synrl_ray.policies.description import read_description
from synrl_ray.reporting.entries import Entry
from synrl_ray.running.kind import EvaluationOptions

_MOST_STEPS = 300


class Footage(NamedTuple):
    """The beginning of an episode, or why it is not there."""

    source: str = ""
    """As a ``data:`` address, of an mp4."""
    caption: str = ""
    note: str = ""


def filmed(entry: Entry, *, trust: bool) -> Footage | None:
    """The first episode that the run's protocol judges by; ``None`` of what does not act, or has no policy yet."""
    if entry.policy is None or not entry.kind.acts:
        return None
    try:
        player = entry.kind.player(read_description(entry.policy), EvaluationOptions(trust=trust))
        make = factory_of(player.environment, render_mode="rgb_array")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "film.mp4"
            film = record_episode(player.policy, make, file, seed=player.seed, max_env_steps=_MOST_STEPS)
            source = f"data:video/mp4;base64,{b64encode(file.read_bytes()).decode()}"
    except UserError as missing:
        return Footage(note=f"no film: {missing}")
    length = f"the first {film.env_steps:,} steps" if film.is_cut else f"{film.env_steps:,} steps"
    return Footage(
        source, f"A greedy episode, {length}, environment seed {player.seed}: return {film.episode_return:,.6g}."
    )
