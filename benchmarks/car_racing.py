"""Frames per second of CarRacing alone: no policy, random actions, one environment, one thread.

Run (``make bench-car-racing``; EnvPool comes with the extra ``peers``):
    python benchmarks/car_racing.py
    python benchmarks/car_racing.py --frames 400 --repeats 5

Rates are of one step after another, resets left out. ``Gymnasium`` is ``gymnasium.make`` as it is, ``fast`` this
project's steps and drawing of the same pixels, with and without the bar of indicators (which the usual crop cuts off);
both draw every frame. ``decisions`` are steps of the prepared environment that ``car-racing-ppo`` trains on, each of
which lasts ``--action-repeat`` frames of physics and draws the last. Contenders run in turn, and medians are printed.

Where other work shares the cores, ``--clock cpu`` counts the seconds that this process computed (all its threads) in
place of those that passed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gymnasium as gym
import numpy as np

from synrl_ray.envs.make import make_environment
from synrl_ray.settings.preprocessing import CarRacingFrames

ENV = "CarRacing-v3"
Steps = Callable[[int], float]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=500, help="steps of a block")
    parser.add_argument("--repeats", type=int, default=5, help="blocks of each contender")
    parser.add_argument("--action-repeat", type=int, default=8)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    global clock
    clock = CLOCKS[options.clock]
    repeat = options.action_repeat
    frames = {
        "Gymnasium, every frame drawn": one(gym.make(ENV, continuous=True)),
        "fast, every frame drawn, cropped": one(prepared(1, crop=True, fast=True)),
        "fast, every frame drawn, whole": one(prepared(1, crop=False, fast=True)),
    }
    pooled = envpool_steps()
    if pooled is not None:
        frames["EnvPool, every frame drawn"] = pooled
    decisions = {
        f"Gymnasium's drawing, {repeat} frames a decision": one(prepared(repeat, crop=True, fast=False)),
        f"fast, {repeat} frames a decision": one(prepared(repeat, crop=True, fast=True)),
    }
    table("frames", frames, options.frames, options.repeats)
    table("decisions", decisions, max(1, options.frames // repeat), options.repeats)


def prepared(action_repeat: int, *, crop: bool, fast: bool) -> gym.Env:
    """The environment of the experiment, whose races do not end early."""
    frames = CarRacingFrames(
        actions="continuous", action_repeat=action_repeat, crop=crop, fast_drawing=fast, stop_off_track_after=0,
        size=84 if crop else 96,
    )  # fmt: skip
    return make_environment(ENV, {}, frames, training=True)


def one(env: gym.Env) -> Steps:
    """Seconds that a number of steps take, resets left out."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)

    def run(count: int) -> float:
        spent = 0.0
        for _ in range(count):
            action = random_action(rng)
            began = clock()
            _, _, terminated, truncated, _ = env.step(action)
            spent += clock() - began
            if terminated or truncated:
                env.reset()
        return spent

    return run


def envpool_steps() -> Steps | None:
    """The same of EnvPool, or a line that says what is missing."""
    try:
        import envpool

        env = envpool.make(ENV, env_type="gymnasium", num_envs=1, num_threads=1, seed=0)
    except (ImportError, OSError) as error:
        print(f"EnvPool: not installed ({error}): uv pip install -c requirements.txt -e '.[peers]'")
        return None
    env.reset()
    rng = np.random.default_rng(0)

    def run(count: int) -> float:
        spent = 0.0
        for _ in range(count):
            action = random_action(rng)[None]
            began = clock()
            env.step(action)  # its own resets are steps too, one in a race
            spent += clock() - began
        return spent

    return run


def random_action(rng: np.random.Generator) -> np.ndarray:
    """Steering, gas and brake."""
    return rng.uniform((-1, 0, 0), (1, 1, 0.3)).astype(np.float32)


def table(unit: str, contenders: dict[str, Steps], count: int, repeats: int) -> None:
    """Print medians of alternating blocks, and ratios to the first contender's block of the same round."""
    for run in contenders.values():
        run(max(1, count // 10))
    rounds = [[count / run(count) for run in contenders.values()] for _ in range(repeats)]
    print(f"{'':<44}{unit + '/s':>12}{'ratio':>8}")
    for index, name in enumerate(contenders):
        rate = statistics.median(rates[index] for rates in rounds)
        ratio = statistics.median(rates[index] / rates[0] for rates in rounds)
        print(f"{name:<44}{rate:>12,.0f}{ratio:>7.1f}x", flush=True)


if __name__ == "__main__":
    main()
