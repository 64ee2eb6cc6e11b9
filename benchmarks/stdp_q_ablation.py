"""What the STDP term of a spiking Q-table is worth: ablations, exact regret, seeds with intervals. No Ray.

Run:
    python benchmarks/stdp_q_ablation.py                                    # Taxi-v3, 10 seeds, minutes
    python benchmarks/stdp_q_ablation.py --env FrozenLake-v1 --seeds 3
    python benchmarks/stdp_q_ablation.py --out rows.jsonl --table table.json   # goes on where it was stopped

All conditions share the settings of ``full`` but for what is named; ``td_tuned`` is Q-learning alone with the initial
value that suits it best, so that STDP does not win by settings made for it. Regret is the exact optimum less the exact
value of the greedy policy, undiscounted, over all first states; where an environment has no time limit, within 200
steps. The optimum may look at the steps that are left, so that no table can reach it on FrozenLake (0.004 above 0).
Steps to regret are environment steps up to the first evaluation at or below it; a seed that never gets there counts
with all its steps, and is shown. Intervals are 95 % bootstrap intervals of the mean over seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from ablation import Rows, by_condition, interval_of, learn, parser_of, show
from gymnasium.spaces import Discrete

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import exact_value, optimal_value
from synrl_ray.policies.local.stdp_q.agent import StdpQAgent
from synrl_ray.settings.stdp_q import StdpQ

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


def run(table: TransitionTable, setup: Setup, settings: StdpQ, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row: a condition and a seed."""
    optimum, states = optimal_value(table), np.arange(table.num_states)
    horizon = table.time_limit or ENDLESS_HORIZON
    reached, regret, shares = None, float("nan"), []
    agent = StdpQAgent(Discrete(table.num_states), Discrete(table.num_actions), settings)
    sizes = {"num_envs": args.num_envs, "env_steps": args.env_steps or setup.env_steps, "interval": setup.interval}
    for steps in learn(table, agent, seed=seed, **sizes):
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


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition."""
    table = []
    for name, own in by_condition(rows).items():
        final = [max(0.0, row["final_regret"]) for row in own]  # -1e-15 is rounding
        table.append(
            {
                "condition": name,
                "seeds": len(own),
                "steps": interval_of([float(row["steps_to_regret"] or row["env_steps"]) for row in own]),
                "missed": sum(row["steps_to_regret"] is None for row in own),
                "regret": interval_of(final),
                "worst": max(final),
                "stdp_share": float(np.mean([row["stdp_share"] for row in own])),
            }
        )
    return table


def keys_of(env: str, name: str, seed: int, settings: StdpQ, args: argparse.Namespace) -> dict[str, Any]:
    """What tells rows apart: one with other settings is no row of this table."""
    sizes = {"num_envs": args.num_envs, "regret": args.regret, "limit": args.env_steps}
    return {"env": env, "condition": name, "seed": seed, **sizes, "settings": asdict(settings)}


def main() -> None:
    parser = parser_of(__doc__, num_envs=32)
    parser.add_argument("--env", default="Taxi-v3", choices=SETUPS)
    parser.add_argument("--regret", type=float, default=0.1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    table, setup = TransitionTable.from_id(args.env), SETUPS[args.env]
    known, rows = Rows(args.out), []
    for seed in range(args.seeds):  # seeds outside, so that all conditions have as many while it runs
        for name, settings in conditions(setup).items():
            if args.conditions and name not in args.conditions:
                continue
            row = known.get(
                keys_of(args.env, name, seed, settings, args), partial(run, table, setup, settings, seed, args)
            )
            rows.append(row)
            reached, regret = row["steps_to_regret"], row["final_regret"]
            print(f"{name} seed {seed}: {reached} steps, final regret {regret:.4f}", flush=True)
    show(f"{args.env}, {args.num_envs} environments, steps to a regret of {args.regret:g}", table_of(rows), args.table)


if __name__ == "__main__":
    main()
