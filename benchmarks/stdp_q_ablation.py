"""What the STDP term of a spiking Q-table is worth: ablations, exact regret, seeds with intervals. No Ray.

Run:
    python benchmarks/stdp_q_ablation.py                                    # Taxi-v3, 10 seeds, minutes
    python benchmarks/stdp_q_ablation.py --env FrozenLake-v1 --seeds 3
    python benchmarks/stdp_q_ablation.py --out rows.jsonl --markdown table.md   # goes on where it was stopped

All conditions share the settings of ``full`` but for what is named; ``td_tuned`` is Q-learning alone with the initial
value that suits it best, so that STDP does not win by settings made for it. Regret is the exact optimum less the exact
value of the greedy policy, undiscounted, over all first states; where an environment has no time limit, within 200
steps. The optimum may look at the steps that are left, so that no table can reach it on FrozenLake (0.004 above 0).
Steps to regret are environment steps up to the first evaluation at or below it; a seed that never gets there counts
with all its steps, and is shown. Intervals are 95 % bootstrap intervals of the mean over seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import exact_value, optimal_value
from synrl_ray.envs.tabular_vector import TabularVectorEnv
from synrl_ray.evaluation.statistics import stratified_bootstrap_interval
from synrl_ray.policies.stdp_q import StdpQAgent
from synrl_ray.policies.stdp_q_config import StdpQ

ENDLESS_HORIZON = 200


@dataclass(frozen=True)
class Setup:
    """How one environment is learned."""

    settings: StdpQ
    env_steps: int
    interval: int
    """Environment steps between evaluations."""
    tuned_value: float
    """Best initial value for Q-learning alone."""


SETUPS = {
    "Taxi-v3": Setup(
        StdpQ(initial_value=18.0, stdp_weight=0.1, tau_e=95.0, stdp_steps=40_000), 160_000, 1_000, tuned_value=14.0
    ),
    "FrozenLake-v1": Setup(
        StdpQ(
            lr=0.3, lr_end=0.02, lr_steps=100_000, gamma=0.99, initial_value=1.0, epsilon_start=0.3, epsilon_end=0.3,
            gain=1.0, tau_e=45.0,
        ),
        120_000, 1_000, tuned_value=1.0,
    ),
    "CliffWalking-v1": Setup(StdpQ(stdp_steps=10_000), 30_000, 250, tuned_value=0.0),
}  # fmt: skip


def conditions(setup: Setup) -> dict[str, StdpQ]:
    full = setup.settings
    off = replace(full, stdp_weight=0.0, stdp_weight_end=0.0)
    return {
        "full": full,
        "stdp_off": off,
        "shuffled_spikes": replace(full, shuffle_spikes=True),
        "raw_reward": replace(full, modulator="reward"),
        "no_trace": replace(full, tau_e=0.0),
        "td_tuned": replace(off, initial_value=setup.tuned_value),
    }


def learn(
    table: TransitionTable, settings: StdpQ, seed: int, num_envs: int, env_steps: int, interval: int
) -> Iterator[tuple[int, StdpQAgent]]:
    """Act, step, learn; the agent every ``interval`` environment steps."""
    envs = TabularVectorEnv(table, num_envs)
    agent = StdpQAgent(envs.single_observation_space, envs.single_action_space, settings)
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
            yield steps, agent


def run(table: TransitionTable, setup: Setup, settings: StdpQ, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row: a condition and a seed."""
    optimum, states = optimal_value(table), np.arange(table.num_states)
    horizon = table.time_limit or ENDLESS_HORIZON
    reached, regret, shares = None, float("nan"), []
    for steps, agent in learn(table, settings, seed, args.num_envs, args.env_steps or setup.env_steps, setup.interval):
        regret = optimum - exact_value(table, agent.greedy(states), horizon)
        shares.append(agent.diagnostics()["stdp_share"])
        if reached is None and regret <= args.regret:
            reached = steps
    return {
        "steps_to_regret": reached,
        "final_regret": regret,
        "env_steps": steps,
        "stdp_share": float(np.mean(shares)),
    }


def interval_of(values: list[float], digits: int) -> str:
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:,.{digits}f}"
    low, high = stratified_bootstrap_interval(values, statistic=np.mean)
    return f"{mean:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def table_of(rows: list[dict[str, Any]], regret: float) -> str:
    """Markdown; one line for each condition."""
    lines = [
        f"| condition | seeds | steps to regret <= {regret:g} | not reached | final regret | worst | STDP share |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["condition"] for row in rows):
        own = [row for row in rows if row["condition"] == name]
        steps = [float(row["steps_to_regret"] or row["env_steps"]) for row in own]
        final = [max(0.0, row["final_regret"]) for row in own]  # -1e-15 is rounding
        missed = sum(row["steps_to_regret"] is None for row in own)
        share = float(np.mean([row["stdp_share"] for row in own]))
        lines.append(
            f"| {name} | {len(own)} | {interval_of(steps, 0)} | {missed} | {interval_of(final, 4)} | {max(final):.4f} "
            f"| {share:.2f} |"
        )
    return "\n".join(lines)


def keys_of(env: str, name: str, seed: int, settings: StdpQ, args: argparse.Namespace) -> dict[str, Any]:
    """What tells rows apart: one with other settings is no row of this table."""
    sizes = {"num_envs": args.num_envs, "regret": args.regret, "limit": args.env_steps}
    return {"env": env, "condition": name, "seed": seed, **sizes, "settings": asdict(settings)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Taxi-v3", choices=SETUPS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--env-steps", type=int, help="of a run, in place of the environment's own number")
    parser.add_argument("--regret", type=float, default=0.1)
    parser.add_argument("--conditions", nargs="+", help="some of them; all by default")
    parser.add_argument("--out", type=Path, help="rows as JSON lines; those that are there are not run again")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    table, setup = TransitionTable.from_id(args.env), SETUPS[args.env]
    known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out and args.out.exists() else []
    rows = []
    for seed in range(args.seeds):  # seeds outside, so that all conditions have as many while it runs
        for name, settings in conditions(setup).items():
            if args.conditions and name not in args.conditions:
                continue
            keys = keys_of(args.env, name, seed, settings, args)
            row = next((row for row in known if keys.items() <= row.items()), None)
            if row is None:
                row = keys | run(table, setup, settings, seed, args)
                if args.out:
                    with args.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            rows.append(row)
            print(
                f"{name} seed {seed}: {row['steps_to_regret']} steps, final regret {row['final_regret']:.4f}",
                flush=True,
            )
    text = table_of(rows, args.regret)
    print(f"\n{args.env}, {args.num_envs} environments\n\n{text}")
    if args.markdown:
        args.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
