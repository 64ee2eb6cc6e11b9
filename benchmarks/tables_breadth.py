"""Tables of how far the library reaches: what a policy is made of, environments without an experiment, stock RLlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from tables_figures import (
    RESULTS,
    at_target,
    by_step,
    decision_energy,
    result,
    rows_of,
    spread,
    steps_to_target,
    with_interval,
)

Row = Sequence[str]


def any_environment() -> Iterator[Row]:
    learners = {"sb3": "Stable-Baselines3's PPO", "spiking": "spiking", "ann": "ann"}
    heads = (f"{words}: greedy; drawn; seeds" for words in learners.values())
    yield "environment", "steps", *heads, "spiking has at least its score: greedy; drawn"
    rows = rows_of("any-environment")
    for env in dict.fromkeys(name.split()[0] for name in rows):
        found = {learner: rows.get(f"{env} {learner}") for learner in learners}
        if not any(found.values()):  # of other settings
            continue
        spiking, peer = found["spiking"], found["sb3"]
        reached = ("yes" if spiking[way][0] >= peer[way][0] else "no" for way in _WAYS) if spiking and peer else "-"
        steps = next(row["env_steps"] for row in found.values() if row)
        yield f"`{env}`", f"{round(steps, -4):,}", *map(_ways, found.values()), "; ".join(reached)


_WAYS = ("greedy", "sampled")


def _ways(row: dict[str, Any] | None) -> str:
    """Means over seeds of both ways to act, with their intervals, and of how many seeds."""
    return "; ".join([*(spread(row[way], 1) for way in _WAYS), str(row["seeds"])]) if row else "-"


def stock_algorithms() -> Iterator[Row]:
    modules = ("ActorCriticModule", "SpikingCatalog")
    states = ("from rest", "carried")
    yield "algorithm", *(f"`{module}`, {state}" for module in modules for state in states)
    rows = rows_of("stock-algorithms")
    for algorithm in dict.fromkeys(row["algorithm"] for row in rows.values()):
        own = [row for row in rows.values() if row["algorithm"] == algorithm]
        by_cell = {(row["module"].replace("QModule", modules[0]), row["state"]): row for row in own}
        named = " (`QModule`)" if any(row["module"] == "QModule" for row in own) else ""
        yield algorithm + named, *(_stock_cell(by_cell[module, state]) for module in modules for state in states)


def _stock_cell(row: dict[str, Any]) -> str:
    if row["outcome"] == "refused":
        return f"refused: {row['reason'].split(' — ')[0]}"
    spent = f"{row['env_steps']:,} steps" if "env_steps" in row else f"{row['updates']:,} updates"
    return f"{row['outcome']}: {row['return']:.1f} on {row['task']}, {spent}"


def composition() -> Iterator[Row]:
    yield (
        "settings",
        "seeds that reach 475",
        "steps to it",
        "greedy, mean (interval)",
        "drawn",
        "s a 10,000 steps",
    )
    for name, row in rows_of("composition").items():
        steps = [f"{each:,}" if each else "never" for each in row["steps"]]
        several = slice(None) if row["seeds"] > 1 else slice(1)  # one seed has no interval
        greedy, drawn = (spread([*row[way][several], None, None][:3], 1) for way in ("greedy", "sampled"))
        seconds = f"{row['seconds_per_10000_steps'][0]:.1f}"
        yield name, f"{row['reached']} of {row['seeds']}", ", ".join(steps), greedy, drawn, seconds


def action_distributions() -> Iterator[Row]:
    yield "policy", "distribution of the force", "greedy, mean (interval over seeds)", "drawn", "seeds"
    for name, row in rows_of("action-distributions").items():
        _, learner, *settings = name.split()
        told = settings[0].rpartition("=")[2] if settings else "gaussian"
        yield learner, told, *(spread(row[way], 1) for way in _WAYS), str(row["seeds"])


def event_driven() -> Iterator[Row]:
    yield (
        "layers",
        "activity",
        "inside",
        "against",
        "training step, ms: ours",
        "wide",
        "dense products alone",
        "theirs",
        "products / ours",
        "theirs / ours",
        "inference, ms: ours",
        "theirs",
        "theirs / ours",
    )
    for row in rows_of("event-driven").values():
        if row["against"] != "snntorch" and (row["net"], row["activity"]) != ("784-256", 0.06):
            continue  # they are in the file
        share = ("-" if row[name] is None else f"{100 * row[name]:.0f} %" for name in ("activity", "near"))
        times = ("-" if row[name] is None else f"{row[name]:.2f}" for name in _EVENT_COLUMNS)
        yield row["net"], *share, row["against"], *times


_EVENT_COLUMNS = (
    "ours",
    "wide",
    "products",
    "theirs",
    "products/ours",
    "theirs/ours",
    "inference",
    "their inference",
    "theirs/ours, inference",
)


def environment_tasks() -> Iterator[Row]:
    yield "experiment", "start", "policy", "seeds", *(f"after {i}" for i in range(3)), "after 3 (interval)"
    for name in ("navigation", "cartpole-physics"):
        for start, place in (("MAML", f"{name}-maml"), ("domain randomisation", f"{name}-maml-randomised")):
            for kind in ("spiking", "ann"):
                if not (RESULTS / place / kind).exists():
                    continue
                found = result(f"{place}/{kind}")
                means = (f"{value:.1f}" for value in by_step(found, "mean_return")[:3])
                last = with_interval(found, "mean_return", 1)
                yield f"`{name}-maml`", start, kind, str(max(1, len(found.training))), *means, last
        for kind in ("spiking", "ann"):
            adaptation = result(f"{name}-maml/{kind}").adaptation
            assert adaptation is not None
            means = (f"{value:.1f}" for value in adaptation.untrained["mean_return"][:4])
            yield f"`{name}-maml`", "from scratch", kind, "1", *means


def unvisited() -> Iterator[Row]:
    yield "critic", "seeds", "states that were met", "that were not", "of these above the mean of those that were"
    for name, row in rows_of("unvisited-states").items():
        share = spread([100 * each for each in row["above"]], 0)
        yield name, str(row["seeds"]), spread(row["met"], 2), spread(row["unmet"], 2), f"{share} %"


def latency() -> Iterator[Row]:
    networks = ("spiking network", "ann network", "torch", "onnx")
    yield (
        *("experiment", "spiking, µs (99 %)", "its network alone", "ann, µs (99 %)", "its network alone"),
        *("in plain torch", "in ONNX Runtime", "spiking / ann"),
    )
    for name, row in rows_of("latency").items():
        spiking, ann = (f"{row[f'{kind} act']:.0f} ({row[f'{kind} act p99']:.0f})" for kind in ("spiking", "ann"))
        own, twin, *others = (f"{row[each]:.0f}" if each in row else "-" for each in networks)
        yield f"`{name}`", spiking, own, ann, twin, *others, f"{row['spiking act'] / row['ann act']:.2f}"


def pendulum() -> Iterator[Row]:
    yield (
        *("policy", "seeds that end at the target", "return IQM (interval)", "mean", "drawn actions, IQM"),
        *("steps to target, median", "energy a decision"),
    )
    for kind in ("spiking", "ann"):
        found = result(f"pendulum-sac/{kind}")
        steps = steps_to_target(found)
        yield (
            kind,
            at_target(found),
            with_interval(found, "return_iqm", 1),
            f"{found.figure('return_mean'):.1f}",
            f"{found.figure('sampled_return_iqm'):.1f}",
            f"{median(steps):,.0f}" if steps else "never",
            decision_energy(found),
        )


def temporal_order() -> Iterator[Row]:
    return _timing("temporal-order")


def time_to_first_spike() -> Iterator[Row]:
    return _timing("time-to-first-spike")


def theta_track() -> Iterator[Row]:
    return _timing("theta-track")


def _timing(task: str) -> Iterator[Row]:
    yield (
        "what the rule sees",
        "right choices, % (interval over seeds)",
        "worst and best seed",
        "seeds that end at 95 %",
    )
    words = {
        "full": "spikes as they are",
        "order_kept": "spike times drawn anew, the order of all pairs kept",
        "constant_tag": "which neurons fired: a constant tag",
        "shuffled_spikes": "spike times shuffled",
        "symmetric_window": "a window without an asymmetric part",
        "either_direction": "time running backwards in half of the trials, by a fair coin",
        "reversed_order": "time running backwards",
        "raw_reward": "spikes as they are, and the reward without its running mean",
        "no_leak": "spikes as they are, and neurons without a leak",
        "frozen": "nothing: weights are frozen",
        "no_precession": "spikes without phase precession",
    }
    for name, row in rows_of(task).items():
        ends = f"{100 * row['worst']:.1f}, {100 * row['best']:.1f}"
        yield words[name], spread(row["share"], 1, 100), ends, f"{row['at_end']} of {row['seeds']}"


def changing_cues() -> Iterator[Row]:
    yield (
        "what learns",
        "right answers while learning, % (interval over seeds)",
        "the first 50 after a change",
        "the last 50 before one",
    )
    words = {
        "plastic": "the readout by reward-modulated STDP, all else by PPO",
        "frozen": "PPO alone, the readout's weights frozen",
        "reward_of_another": "as the first, rewards are those of another environment",
        "without": "PPO alone, all weights",
        "ann": "PPO alone, non-spiking twin",
        "plastic_still": "as the first, answers never change",
        "without_still": "PPO alone, answers never change",
    }
    for name, row in rows_of("changing-cues").items():
        edges = ("-", "-") if name.endswith("still") else (spread(row[edge], 1, 100) for edge in ("first", "last"))
        yield words[name], spread(row["share"], 1, 100), *edges


def surrogates_cartpole() -> Iterator[Row]:
    yield "settings", "seeds that reach 475", "steps to it", "greedy, mean (interval)", "drawn", *_ACTIVITY
    for name, row in rows_of("surrogates-cartpole").items():
        steps = ", ".join(f"{each:,}" if each else "never" for each in row["steps"])
        returns = (spread(row[way], 1) for way in _WAYS)
        yield name, f"{row['reached']} of {row['seeds']}", steps, *returns, *_activity(row)


def surrogates_mnist() -> Iterator[Row]:
    epochs = ("epoch 1", "epoch 2", "epoch 3")
    yield "settings", "seeds", *(f"held out, {epoch}" for epoch in epochs), "test (interval over seeds)", *_ACTIVITY
    for name, row in rows_of("surrogates-mnist").items():
        held_out = (f"{100 * row[epoch][0]:.2f} %" for epoch in epochs)
        yield name, str(row["seeds"]), *held_out, spread(row["test"], 2, 100) + " %", *_activity(row)


def surrogates_breakout() -> Iterator[Row]:
    marks = ("100,000", "200,000", "300,000")
    yield "settings", "seeds", *(f"return at {mark}" for mark in marks), *_ACTIVITY
    for name, row in rows_of("surrogates-breakout").items():
        returns = (", ".join(f"{each:.2f}" for each in row[f"return at {mark}"]) for mark in marks)
        yield name, str(row["seeds"]), *returns, *_activity(row)


_ACTIVITY = ("firing", "derivative not zero")


def _activity(row: dict[str, Any]) -> tuple[str, str]:
    """Of each layer, means over seeds."""
    return row["firing"], row["live"]
