"""Episodes before a screen: what is shown, and what whoever watches may ask for."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import synrl_ray
from synrl_ray.api import watching
from synrl_ray.errors import UserError
from synrl_ray.watching.controls import FASTEST, Controls
from synrl_ray.watching.in_terminal import Terminal, half_blocks
from synrl_ray.watching.keys import press
from synrl_ray.watching.live import Moment, play
from synrl_ray.watching.window import Window

RESULTS = Path(__file__).parents[3] / "experiments" / "results"


class Counting(gymnasium.Env[Any, Any]):
    """Five steps, whose number is drawn as the picture's brightness; the reward is 2."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1000}  # noqa: RUF012
    observation_space = Box(0, 9, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, render_mode: str | None = "rgb_array") -> None:
        self.render_mode = render_mode
        self.step_number = 0

    def reset(self, **_: Any) -> Any:
        self.step_number = 0
        return np.zeros(1, np.float32), {}

    def step(self, _: Any) -> Any:
        self.step_number += 1
        return np.full(1, self.step_number, np.float32), 2.0, self.step_number == 5, False, {}

    def render(self) -> Any:
        return np.full((240, 320, 3), self.step_number, np.uint8)


class Still:
    """Acts, and spikes once in each of two layers."""

    last_spikes = (np.ones((1, 4)), np.ones((1, 3)))

    def initial_state(self, batch: int, /) -> np.ndarray:
        return np.zeros((batch, 0), np.float32)

    def act(self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = True) -> Any:
        return np.zeros(len(observations), np.int64), state


class Seen:
    """Keeps what it is shown; closes after so many frames, or asks for something."""

    def __init__(self, controls: Controls, most: int, asks: Any = None) -> None:
        self.controls, self.most, self.asks = controls, most, asks
        self.frames: list[np.ndarray] = []
        self.moments: list[Moment] = []

    def show(self, frame: np.ndarray, moment: Moment) -> None:
        self.frames.append(frame)
        self.moments.append(moment)

    def listen(self) -> None:
        if self.asks is not None:
            self.asks(self)
        if len(self.frames) >= self.most:
            self.controls.close()


def watched(most: int, asks: Any = None) -> tuple[Seen, list[Moment]]:
    controls, ended = Controls(), []
    controls.faster(FASTEST)
    seen = Seen(controls, most, asks)
    play(Still(), Counting, seen, controls, seed=7, ended=ended.append)
    return seen, ended


def test_episodes_follow_one_another_with_the_spikes_beside_them():
    seen, ended = watched(8)
    assert [(m.seed, m.step, m.episode_return) for m in seen.moments] == [
        *((7, step, 2.0 * step) for step in range(6)),
        (8, 0, 0.0),
        (8, 1, 2.0),
    ]
    assert [m.has_ended for m in seen.moments] == [False] * 5 + [True, False, False]
    assert ended == [Moment(7, 5, 10.0, True)]
    assert seen.moments[5].words() == "seed 7  step 5  return 10, ended"
    assert {frame.shape for frame in seen.frames} == {(240, 560, 3)}
    assert [int(frame[0, 0, 0]) for frame in seen.frames] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_the_next_episode_begins_when_it_is_asked_for_and_the_seed_is_the_one_that_was_asked_for():
    def asks(seen: Seen) -> None:
        if len(seen.frames) == 2:
            seen.controls.next_episode(42)
        elif len(seen.frames) == 4:
            seen.controls.next_episode()

    seen, ended = watched(6, asks)
    assert [m.seed for m in seen.moments] == [7, 7, 42, 42, 43, 43]
    assert not ended


def test_all_stands_still_while_paused():
    began = time.monotonic()

    def asks(seen: Seen) -> None:
        if len(seen.frames) == 2 and seen.controls.is_paused is (time.monotonic() - began > 0.3):
            seen.controls.toggle_pause()

    watched(3, asks)
    assert time.monotonic() - began > 0.3


def test_a_key_pressed_between_two_looks_at_the_pause_does_no_harm(monkeypatch: pytest.MonkeyPatch):
    controls, looks = Controls(), iter([True, False, False])
    monkeypatch.setattr(Controls, "is_paused", property(lambda self: next(looks)), raising=False)
    assert controls.wait(0.0, time.monotonic() - 1, lambda: None)


@pytest.mark.parametrize("name", ["\x1b]0;pwned\x07\x1b[2J", "a\ud800", "a\0b"])
def test_a_strangers_title_is_plain(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    policy = shutil.copytree(RESULTS / "cartpole-ppo" / "spiking" / "seed0", tmp_path / "policy")
    described = json.loads((policy / "policy.json").read_text())
    (policy / "policy.json").write_text(json.dumps({**described, "experiment": name}))
    titles: list[str] = []
    monkeypatch.setattr(watching, "_screen", lambda on, title, port: titles.append(title) or nullcontext((0, 0, 0)))
    monkeypatch.setattr(watching, "play", lambda *given, **named: None)
    watching.watch(policy, on="page")
    assert len(titles) == 1
    assert titles[0].isprintable()
    with pytest.raises(UserError, match="--on paper is no screen — choose from window, page, terminal"):
        watching.watch(policy, on="paper")  # type: ignore[arg-type]


def test_an_environment_without_pictures_is_refused():
    with pytest.raises(UserError, match="renders as None"):
        play(Still(), lambda: Counting(None), Seen(Controls(), 1), Controls(), seed=0, ended=print)


def test_keys():
    controls = Controls()
    press(controls, " ")
    assert controls.is_paused
    for _ in range(9):
        press(controls, "+")
    assert controls.speed == FASTEST
    press(controls, "-")
    assert controls.speed == FASTEST / 2
    press(controls, "n")
    assert controls.take_seed(3) == 4
    assert controls.wait(0.0, 0.0, lambda: press(controls, " ")) is True
    press(controls, "x")
    press(controls, "q")
    assert controls.is_closed


def test_half_blocks_keep_the_picture_and_its_shape():
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:20] = (255, 0, 0)
    rows = half_blocks(frame, 8, 100)
    assert [row.count("▀") for row in rows] == [8, 8]  # twice as wide as high, in two pixels for each character
    assert rows[0].startswith("\x1b[38;2;255;0;0;48;2;255;0;0m▀")
    assert rows[1].startswith("\x1b[38;2;0;0;0;48;2;0;0;0m▀")
    assert len(half_blocks(frame, 1000, 3)) == 3


def test_a_terminal_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"no terminal — .*--on page"):
        Terminal(Controls())


def test_a_window_shows_frames_and_hears_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    controls = Controls()
    window = Window(controls, "a policy")
    try:
        window.show(np.full((240, 320, 3), 77, np.uint8), Moment(1, 2, 3.5))
        assert pygame.display.get_caption()[0] == "a policy  seed 1  step 2  return 3.5"
        assert pygame.display.get_surface().get_at((5, 5))[:3] == (77, 77, 77)
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE, unicode=" "))
        window.listen()
        assert controls.is_paused
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        window.listen()
        assert controls.is_closed
    finally:
        window.close()


def test_an_environment_that_draws_nothing_is_told_without_gymnasiums_warning(recwarn: pytest.WarningsRecorder):
    with pytest.raises(UserError, match=r"draws no pictures \(its render modes: none\) — choose one with 'rgb_array'"):
        synrl_ray.watch("experiments/results/temporal-order/spiking", on="page")
    assert [str(each.message) for each in recwarn if "render" in str(each.message)] == []
