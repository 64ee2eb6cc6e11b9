"""What the ablations of local learning share: the loop without Ray, rows that outlive an interruption, intervals."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_vector import TabularVectorEnv
from synrl_ray.evaluation.statistics import stratified_bootstrap_interval
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.results import code_commit

_OF_SEEDS = "95 % bootstrap intervals over seeds"


def learn(
    table: TransitionTable, agent: LocalAgent, *, seed: int, num_envs: int, env_steps: int, interval: int
) -> Iterator[int]:
    """Act, step, learn; how many environment steps there were, every ``interval`` of them."""
    envs = TabularVectorEnv(table, num_envs)
    generator = torch.Generator().manual_seed(seed)
    observations, _ = envs.reset(seed=seed)
    starts, ended = np.ones(num_envs, np.bool_), np.zeros(num_envs, np.bool_)
    steps, next_yield = 0, interval
    while steps < env_steps:
        actions = agent.act(observations, starts, steps, generator)
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        valid, starts = ~ended, ended  # an environment that has ended is reset by this step, and starts with the next
        ended = terminated | truncated
        agent.learn(rewards, terminated, truncated, valid, observations)
        steps += int(valid.sum())
        if steps >= next_yield:
            next_yield += interval
            yield steps


class Rows:
    """Rows of a table, told apart by some of their columns, and kept in a file of JSON lines where one is given."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []

    def get(self, keys: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row with these columns; measured, and kept, where it is not known."""
        row = next((row for row in self.known if keys.items() <= row.items()), None)
        if row is None:
            row = json.loads(json.dumps(keys | measure()))
            if self.path:
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        return row


def interval_of(values: list[float]) -> list[float]:
    """The mean with the ends of its 95 % bootstrap interval."""
    return [float(np.mean(values)), *stratified_bootstrap_interval(values, statistic=np.mean)]


def by_condition(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of each condition, in the order in which conditions come."""
    return {name: [r for r in rows if r["condition"] == name] for name in dict.fromkeys(r["condition"] for r in rows)}


def rows_parser(description: str | None, *, seeds: int) -> argparse.ArgumentParser:
    """The options of everything that measures a row for each seed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--out", type=Path, help="rows as JSON lines; those that are there are not run again")
    parser.add_argument("--table", type=Path, help="also write the table there, as JSON that `make tables` reads")
    return parser


def parser_of(description: str | None, *, num_envs: int) -> argparse.ArgumentParser:
    """The options that the ablations of local learning have."""
    parser = rows_parser(description, seeds=10)
    parser.add_argument("--num-envs", type=int, default=num_envs)
    parser.add_argument("--env-steps", type=int, help="of a run, in place of the environment's own number")
    parser.add_argument("--conditions", nargs="+", help="some of them; all by default")
    return parser


def show(title: str, table: list[dict[str, Any]], path: Path | None, *, note: str = _OF_SEEDS) -> None:
    """Print a table of figures, one row for each condition, and write it where that is wanted."""
    print(f"\n{title}\n\n| {' | '.join(table[0])} |\n{'|---' * len(table[0])}|")
    for row in table:
        print(f"| {' | '.join(_shown(cell) for cell in row.values())} |")
    if path:
        script, *options = sys.argv
        at = options.index("--table")
        words = ["python", f"benchmarks/{Path(script).name}", *options[:at], *options[at + 2 :]]
        head = {"command": shlex.join(words), "commit": code_commit(), "note": note}
        rows = ",\n".join(f"    {json.dumps(row)}" for row in table)
        path.write_text(json.dumps(head, indent=2).removesuffix("\n}") + f',\n  "rows": [\n{rows}\n  ]\n}}\n')


def _shown(cell: Any) -> str:
    if isinstance(cell, list):
        mean, low, high = map(_shown, cell)
        return f"{mean} ({low} to {high})"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.4f}"
    return "-" if cell is None else str(cell)
