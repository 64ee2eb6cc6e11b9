"""What the STDP term of a spiking Q-table is worth: ablations, exact regret, seeds with intervals. No Ray.

Run:
    python benchmarks/stdp_q_ablation.py                                    # Taxi-v3, 10 seeds, minutes
    python benchmarks/stdp_q_ablation.py --env FrozenLake-v1 --seeds 3
    python benchmarks/stdp_q_ablation.py --out rows.jsonl --table table.json   # goes on where it was stopped
    python benchmarks/stdp_q_ablation.py --search --seeds 2 --out search.jsonl # what suits Q(lambda) best on Taxi-v3

All conditions share the settings of ``full`` but for what is named; ``td_tuned`` is Q-learning alone with the initial
value that suits it best, so that STDP does not win by settings made for it. ``q_lambda`` is Q(lambda) on a table, with
what ``--search`` has found for it on seeds from 100 on, which the table does not have. It has no spikes, nor has
``constant_tag``, where every decision's tag is the mean of those that spikes give. ``jittered_spikes`` draws the times
of both spikes anew and keeps their order, ``reversed_order`` turns time round, ``shuffled_spikes`` draws times and
order. Without its asymmetric part the rule is that of ``full``, since the action's spike never comes first.

Regret is the exact optimum less the exact value of the greedy policy, undiscounted, over all first states; where an
environment has no time limit, within 200 steps. The optimum may look at the steps that are left, so that no table can
reach it on FrozenLake (0.004 above 0). Steps to regret are environment steps up to the first evaluation at or below it;
a seed that never gets there counts with all its steps, and is shown. Intervals are 95 % bootstrap intervals of the mean
over seeds.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from ablation import Rows, by_condition, interval_of, learn, parser_of, show
from gymnasium.spaces import Discrete
from torch import Tensor

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import exact_value, optimal_value
from synrl_ray.policies.local.stdp_q.agent import StdpQAgent
from synrl_ray.policies.local.stdp_q.layer import Decision
from synrl_ray.settings.stdp_q import StdpQ

ENDLESS_HORIZON = 200
FIRST_SEARCH_SEED = 100
_NONE = 1e-12
"""A step size of 0, which is no setting."""


class ConstantTag(StdpQAgent):
    """Every decision has the tag that those of ``full`` have in the mean on Taxi."""

    tag = 0.88

    def tags(self, decision: Decision, generator: torch.Generator) -> Tensor:
        return torch.full(decision.winner.shape, self.tag, dtype=torch.float64)


class UnitTag(ConstantTag):
    """Tags are 1, as eligibility traces on tables have them."""

    tag = 1.0


class JitteredSpikes(StdpQAgent):
    """Both spikes at two random simulation steps of the decision, in their order."""

    def tags(self, decision: Decision, generator: torch.Generator) -> Tensor:
        num_steps, num_rows, _ = decision.pre_spikes.shape
        drawn = torch.rand(num_steps, num_rows, generator=generator).argsort(dim=0)[:2].sort(dim=0).values
        pre, post = torch.zeros_like(decision.pre_spikes), torch.zeros_like(decision.post_spikes)
        rows = torch.arange(num_rows)
        pre[drawn[0], rows, 0], post[drawn[1], rows, decision.winner] = 1, 1
        return super().tags(Decision(decision.winner, pre, post), generator)


class ReversedOrder(StdpQAgent):
    """The action's spike comes first, by as much."""

    def tags(self, decision: Decision, generator: torch.Generator) -> Tensor:
        turned = Decision(decision.winner, decision.pre_spikes.flip(0), decision.post_spikes.flip(0))
        return super().tags(turned, generator)


AGENTS = {
    "constant_tag": ConstantTag,
    "q_lambda": UnitTag,
    "td_and_trace": UnitTag,
    "jittered_spikes": JitteredSpikes,
    "reversed_order": ReversedOrder,
}
"""Conditions that are no settings."""


@dataclass(frozen=True)
class Setup:
    """How one environment is learned."""

    settings: StdpQ
    env_steps: int
    interval: int
    """Environment steps between evaluations."""
    tuned_value: float
    """Best initial value for Q-learning alone."""
    q_lambda: StdpQ | None = None
    """Best settings for Q(lambda), where they were searched."""


def q_lambda(full: StdpQ, *, trace_decay: float, lr: float, initial_value: float, watkins: bool) -> StdpQ:
    """Settings with which :class:`UnitTag` is Q(lambda) with replacing traces, whose gamma times lambda is the decay.

    ``watkins`` cuts traces where an action is not the greedy one; without, it is the naive variant.
    """
    return replace(
        full, lr=_NONE, stdp_weight=lr, stdp_weight_end=lr, tau_e=-full.decision_time / math.log(trace_decay),
        trace="replacing", initial_value=initial_value, cut_at_exploration=watkins,
    )  # fmt: skip


def td_and_trace(full: StdpQ, *, trace_decay: float, weight: float, initial_value: float) -> StdpQ:
    """Settings with which :class:`UnitTag` adds a trace to Q-learning, whose weight fades as that of STDP does."""
    tau_e = -full.decision_time / math.log(trace_decay)
    return replace(full, stdp_weight=weight, tau_e=tau_e, initial_value=initial_value)


TAXI = StdpQ(initial_value=18.0, stdp_weight=0.1, tau_e=95.0, stdp_steps=40_000)

SETUPS = {
    "Taxi-v3": Setup(
        TAXI, 160_000, 1_000, tuned_value=14.0,
        q_lambda=q_lambda(TAXI, trace_decay=0.1, lr=1.0, initial_value=14.0, watkins=True),
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
        "constant_tag": full,
        "jittered_spikes": full,
        "reversed_order": full,
        "shuffled_spikes": replace(full, shuffle_spikes=True),
        "raw_reward": replace(full, modulator="reward"),
        "no_trace": replace(full, tau_e=0.0),
        "td_tuned": replace(off, initial_value=setup.tuned_value),
        **({} if setup.q_lambda is None else {"q_lambda": setup.q_lambda}),
    }


def searched(setup: Setup) -> dict[str, StdpQ]:
    """The grids of traces alone, and of TD errors with traces, as conditions."""
    alone = product((0.1, 0.3, 0.5, 0.8, 0.9), (0.3, 0.6, 1.0), (14.0, 18.0), (True, False))
    beside = product((0.8, 0.9, 0.95), (0.05, 0.1, 0.2), (16.0, 18.0))
    return {
        f"q_lambda {decay} {lr} {value} {'watkins' if cuts else 'naive'}": q_lambda(
            setup.settings, trace_decay=decay, lr=lr, initial_value=value, watkins=cuts
        )
        for decay, lr, value, cuts in alone
    } | {
        f"td_and_trace {decay} {weight} {value}": td_and_trace(
            setup.settings, trace_decay=decay, weight=weight, initial_value=value
        )
        for decay, weight, value in beside
    }


def run(
    name: str, table: TransitionTable, setup: Setup, settings: StdpQ, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """One row: a condition and a seed. A search ends where the regret is reached."""
    optimum, states = optimal_value(table), np.arange(table.num_states)
    horizon = table.time_limit or ENDLESS_HORIZON
    reached, regret, shares = None, float("nan"), []
    agent_class = AGENTS.get(name.split()[0], StdpQAgent)
    agent = agent_class(Discrete(table.num_states), Discrete(table.num_actions), settings)
    sizes = {"num_envs": args.num_envs, "env_steps": args.env_steps or setup.env_steps, "interval": setup.interval}
    for steps in learn(table, agent, seed=seed, **sizes):
        regret = optimum - exact_value(table, agent.greedy(states), horizon)
        shares.append(agent.diagnostics()["stdp_share"])
        if reached is None and regret <= args.regret:
            reached = steps
            if args.search:
                break
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
    parser.add_argument("--search", action="store_true", help="settings of Q(lambda), on seeds of their own")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    table, setup = TransitionTable.from_id(args.env), SETUPS[args.env]
    known, rows = Rows(args.out), []
    first = FIRST_SEARCH_SEED if args.search else 0
    for seed in range(first, first + args.seeds):  # seeds outside: all conditions have as many while it runs
        for name, settings in (searched(setup) if args.search else conditions(setup)).items():
            if args.conditions and name not in args.conditions:
                continue
            row = known.get(
                keys_of(args.env, name, seed, settings, args), partial(run, name, table, setup, settings, seed, args)
            )
            rows.append(row)
            reached, regret = row["steps_to_regret"], row["final_regret"]
            print(f"{name} seed {seed}: {reached} steps, final regret {regret:.4f}", flush=True)
    show(f"{args.env}, {args.num_envs} environments, steps to a regret of {args.regret:g}", table_of(rows), args.table)


if __name__ == "__main__":
    main()
