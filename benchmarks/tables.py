"""The tables of README.md and of docs, written from what lies under experiments/results.

Run:
    python benchmarks/tables.py            # write them between their markers
    python benchmarks/tables.py --check    # change nothing; exit 1 and name the tables that differ

A table stands between ``<!-- results:NAME -->`` and ``<!-- end -->``. What is in a row but no figure (targets in words,
settings) stands here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tables_breadth import (
    action_distributions,
    any_environment,
    changing_cues,
    composition,
    environment_tasks,
    event_driven,
    latency,
    pendulum,
    stock_algorithms,
    surrogates_breakout,
    surrogates_cartpole,
    surrogates_mnist,
    temporal_order,
    theta_track,
    time_to_first_spike,
    unvisited,
)
from tables_figures import (
    at_target,
    by_step,
    decision_energy,
    duration,
    percent,
    result,
    rows_of,
    score_after_adaptation,
    spread,
    steps_to_target,
    with_interval,
)

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    *(f"docs/{name}.md" for name in ("results", "environments", "algorithms", "networks", "spaces")),
)
_MARKED = re.compile(r"(<!-- results:([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = Sequence[str]


def summary() -> Iterator[Row]:
    yield "experiment", "what is judged", "spiking", "not spiking", "mark"
    cartpole = ("cartpole-ppo", "cartpole-dqn", "cartpole-reinforce")

    def of(kind: str, names: Sequence[str], figure: str, digits: int) -> str:
        return ", ".join(f"{result(f'{name}/{kind}').figure(figure):.{digits}f}" for name in names)

    def pair(name: str, figure: str, digits: int, scale: float = 1, unit: str = "") -> tuple[str, str]:
        spiking, ann = (
            f"{scale * result(f'{name}/{kind}').figure(figure):.{digits}f}{unit}" for kind in ("spiking", "ann")
        )
        return spiking, ann

    iqms = (of("spiking", cartpole, "return_iqm", 1), of("ann", cartpole, "return_iqm", 1))
    yield "`cartpole-ppo`, `-dqn`, `-reinforce`", "greedy return, IQM of 5 seeds", *iqms, "475"
    shower = pair("shower-ppo", "return_mean", 2)
    yield "`shower-ppo`", "mean greedy return, 5 seeds", *shower, "57.3, the optimum"
    breakout = result("breakout-a2c/spiking")
    distinct = len(set(breakout.greedy.returns)) if breakout.greedy else 30
    games = f"mean of 30 games, {distinct} different, after {(breakout.training[0].steps or 0) / 1e6:.1f} M decisions"
    mark = "100 first; 279.8 ± 122.2, the Zoo's A2C"
    yield "`breakout-a2c`", games, *pair("breakout-a2c", "return_mean", 0), mark
    laps = f"IQM of 30 games after {(result('car-racing-ppo/spiking').training[0].steps or 0) / 1e6:.2f} M decisions"
    yield "`car-racing-ppo`", laps, *pair("car-racing-ppo", "return_iqm", 1), "700 first; 900, solved"
    digits = "; ".join(percent(result(f"mnist-binary/{name}").figure("accuracy"), 2) for name in _DIGITS)
    judged = "test accuracy, 3 seeds: two digits; ten; ten, convolutions"
    yield "`mnist-binary`", judged, digits, "-", "99.9 %; 98 %; 99 %"
    table = f"{result('taxi-q-learning/tabular').figure('regret_iqm'):.4f} (table)"
    yield "`taxi-q-learning`", "exact regret, IQM of 10 seeds", "-", table, "0"
    regret = f"{result('taxi-stdp-q/spiking').figure('regret_iqm'):.4f}"
    yield "`taxi-stdp-q`", "exact regret, IQM of 10 seeds", regret, "-", "0.05"
    mazes = rows_of("maze-ablation")
    arrives, chance = (percent(mazes[name]["success"][0]) for name in ("full", "random"))
    yield "`maze-rstdp`", "start cells from which it arrives, 10 mazes", arrives, f"{chance} (random moves)", "95 %"
    share = percent(result("temporal-order/spiking").figure("return_mean"))
    yield "`temporal-order`", "right choices, 10 seeds; chance is 50 %", share, "-", "95 %"
    share = percent(result("time-to-first-spike/spiking").figure("return_mean"))
    yield "`time-to-first-spike`", "right choices, 10 seeds; chance is 50 %", share, "-", "95 %"
    share = percent(result("theta-track/spiking").figure("return_mean"))
    yield "`theta-track`", "right choices, 10 seeds; chance is 50 %", share, "-", "95 %"
    rows = rows_of("changing-cues")
    learned, twin = (percent(rows[name]["share"][0]) for name in ("plastic", "ann"))
    yield "`changing-cues`", "right answers while learning, 5 seeds; chance is 25 %", learned, twin, "-"
    steps = pair("cartpole-hebbian", "return_mean", 1)
    yield "`cartpole-hebbian`", "mean return, 5 seeds; most is 400", *steps, "360"
    driven = result("car-racing-hebbian/ann").figure("return_mean")
    yield "`car-racing-hebbian`", "mean return, 100 episodes of one seed", "-", f"{driven:.1f}", "700"
    yield "`sinusoid-maml`", "squared error, 10 samples, 10 inner steps", *pair("sinusoid-maml", "loss", 3), "-"
    others = rows_of("omniglot-others")
    shots = {kind: percent(others[f"5-shot {kind}"]["after"][0]) for kind in ("spiking", "ann")}
    few, many = (pair(f"omniglot-maml{name}", "accuracy", 1, 100, " %") for name in ("", "-20-way"))
    judged = "accuracy, transductive batch norm, trained on 1 shot: 5 ways 1 shot; 5 ways 5 shots; 20 ways 1 shot"
    cells = (f"{few[i]}; {shots[kind]}; {many[i]}" for i, kind in enumerate(("spiking", "ann")))
    yield "`omniglot-maml`", judged, *cells, "97 %; 99 %; 90 %"
    judged = "greedy regret on new tasks after 3 inner steps, 5 seeds"
    yield "`gridworld-maml`", judged, *pair("gridworld-maml", "regret", 1, 100, " %"), "5 %"
    learned = {kind: learners(kind)["policy, meta-learned start"] for kind in ("spiking", "ann")}
    tabular = learners("ann")["Q-learning"]["env_steps_to_95"]
    judged = "environment steps until the mean of 5 seeds is at 95 % of the optimum, on new tasks"
    ann = f"{learned['ann']['env_steps_to_95']:,}; {tabular:,} (table)"
    yield "`gridworld-q-vs-maml`", judged, f"{learned['spiking']['env_steps_to_95']:,}", ann, "-"
    judged = "greedy return on new tasks after 3 inner steps of 10 episodes, 5 seeds"
    yield "`navigation-maml`", judged, *pair("navigation-maml", "mean_return", 2), "-2; in place -16.6"
    yield "`cartpole-physics-maml`", judged, *pair("cartpole-physics-maml", "mean_return", 1), "180 of 200"


def learners(kind: str) -> dict[str, Any]:
    """The learners that were compared with the policy of that kind."""
    comparison = result(f"gridworld-q-vs-maml/{kind}").comparison
    assert comparison is not None
    return dict(comparison["learners"])


_CONTROL = {
    "cartpole-ppo": "target 475 within 100,000 steps",
    "cartpole-dqn": "ends at the first greedy mean of 495 over 50 episodes, at most 120,000 steps",
    "cartpole-reinforce": "target 475 within 500,000 steps",
    "shower-ppo": "target 56.1 (98 % of the optimum 57.3) within 200,000 steps",
}


def control() -> Iterator[Row]:
    yield (
        *("experiment", "policy", "seeds that end at the target", "return IQM (interval)", "worst seed's mean"),
        *("drawn actions, IQM", "distinct greedy episodes", "steps to target, median", "energy a decision"),
    )
    for name, target in _CONTROL.items():
        for kind in ("spiking", "ann"):
            found = result(f"{name}/{kind}")
            drawn, distinct = found.figures.get("sampled_return_iqm"), found.figures.get("distinct_episodes")
            yield (
                f"`{name}`, {target}" if kind == "spiking" else "",
                kind,
                at_target(found),
                with_interval(found, "return_iqm", 1),
                f"{min(value for value in found.per_seed['return_mean'] if value is not None):.1f}",
                "-" if drawn is None else f"{drawn:.1f}",
                "-" if distinct is None else f"{distinct:.0f} of {found.figure('episodes'):.0f}",
                f"{median(steps_to_target(found)):,.0f}",
                decision_energy(found),
            )


def games() -> Iterator[Row]:
    yield (
        *("experiment", "policy", "decisions", "wall time on a shared core"),
        *("mean, lowest, highest", "IQM (interval)", "energy a decision"),
    )
    for name, digits in (("breakout-a2c", 0), ("car-racing-ppo", 1)):
        for kind in ("spiking", "ann"):
            found = result(f"{name}/{kind}")
            (trained,) = found.training
            ends = ", ".join(f"{found.figure(f'return_{end}'):.{digits}f}" for end in ("min", "max"))
            settings = ", `--set rmsprop_eps=1e-5`" if (name, kind) == ("breakout-a2c", "ann") else ""
            yield (
                f"`{name}`" if kind == "spiking" else "",
                kind + settings,
                f"{trained.steps:,}",
                duration(trained.wall_seconds),
                f"{found.figure('return_mean'):.1f}, {ends}",
                "see below" if name == "breakout-a2c" else with_interval(found, "return_iqm", 1),
                decision_energy(found),
            )


_DIGITS = {
    "spiking": "zeros against ones",
    "spiking-ten-digits": ("`--set digits=all epochs=15 spiking.hidden_sizes=512 spiking.surrogate=atan max_shift=1`"),
    "spiking-ten-digits-conv": (
        "`--set digits=all epochs=8 spiking.architecture=conv spiking.hidden_sizes=128 "
        "spiking.steps_per_observation=4 spiking.surrogate=atan max_shift=1`"
    ),
}


def mnist() -> Iterator[Row]:
    yield "`synrl train mnist-binary --seeds 3`", "accuracy (interval)", "seeds", "seconds a seed, median"
    for name, settings in _DIGITS.items():
        found = result(f"mnist-binary/{name}")
        each = ", ".join(f"{100 * value:.2f}" for value in found.per_seed["accuracy"] if value is not None)
        seconds = median(trained.wall_seconds for trained in found.training)
        shown = f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"
        yield settings, with_interval(found, "accuracy", 2, 100, " %"), f"{each} %", shown


def local() -> Iterator[Row]:
    yield (
        *("experiment", "seeds that end at the target", "regret IQM (interval)", "worst seed's regret"),
        *("arrives, IQM", "longest paths over the shortest", "steps to target, lowest to highest"),
    )
    for place in ("taxi-q-learning/tabular", "taxi-stdp-q/spiking", "maze-rstdp/spiking"):
        found = result(place)
        steps, arrives = steps_to_target(found), found.figures.get("success_rate_iqm")
        ratios = [value for value in found.per_seed.get("path_ratio", ()) if value is not None]
        yield (
            f"`{place.split('/')[0]}`",
            at_target(found),
            with_interval(found, "regret_iqm", 4),
            f"{max(value for value in found.per_seed['regret'] if value is not None):.4f}",
            "-" if arrives is None else percent(arrives),
            f"{max(ratios):.3f}" if ratios else "-",
            f"{min(steps):,} to {max(steps):,}",
        )


def taxi_ablation() -> Iterator[Row]:
    yield "condition", "steps to regret 0.1", "final regret"
    words = {
        "full": "TD error and STDP, gated by the TD error, with eligibility",
        "constant_tag": "constant tag (0.88, the mean) in place of spikes",
        "td_and_trace": "TD error and an eligibility trace on a table, settings that suit it best",
        "jittered_spikes": "spike times drawn anew, their order kept",
        "shuffled_spikes": "spike times shuffled, and with them their order",
        "reversed_order": "order of spikes reversed",
        "stdp_off": "without STDP",
        "td_tuned": "without STDP, with the initial value that suits it best",
        "q_lambda": "Q(lambda) on a table: the trace alone, settings that suit it best",
        "raw_reward": "reward in place of the TD error",
        "no_trace": "no eligibility trace",
    }
    for name, row in rows_of("taxi-ablation").items():
        yield words[name], spread(row["steps"]), spread(row["regret"], 4)


def maze_ablation() -> Iterator[Row]:
    yield "condition", "arrives, % of start cells", "steps to 95 %", "seeds that never do"
    words = {
        "full": "TD error of a critic, eligibility trace, forgetting",
        "teacher": "with a teacher",
        "no_forgetting": "without forgetting",
        "no_trace": "no eligibility trace",
        "running_mean": "running mean of the reward in place of the critic",
        "raw_reward": "raw reward",
        "double_rate": "twice the learning rate of STDP",
        "order_kept": "spike times drawn anew, the order of all pairs kept",
        "shuffled_spikes": "spike times shuffled",
        "reversed_order": "time running backwards",
        "either_direction": "time running backwards in half of the observations, by a fair coin",
        "constant_tag": "constant tag: which neurons fired",
        "stdp_off": "STDP off",
        "untrained": "untrained",
        "random": "random moves",
    }
    for name, row in rows_of("maze-ablation").items():
        learns = row["missed"] is not None
        steps = spread(row["steps"]) if learns else "-"
        yield words[name], spread(row["success"], 1, 100), steps, str(row["missed"]) if learns else "-"


def hebbian() -> Iterator[Row]:
    yield (
        *("network", "what is evolved", "seeds that end at 360", "return IQM (interval)", "worst seed's mean"),
        *("weights frozen where the episode starts", "rules or weights exchanged", "bodies never met"),
    )
    for kind in ("ann", "spiking"):
        for name, evolved in (("cartpole-hebbian", "rules"), ("cartpole-hebbian-fixed", "weights")):
            found = result(f"{name}/{kind}")
            frozen = found.figures.get("zeroed_return_iqm")
            yield (
                kind,
                evolved,
                at_target(found),
                with_interval(found, "return_iqm", 1),
                f"{min(value for value in found.per_seed['return_mean'] if value is not None):.1f}",
                "-" if frozen is None else f"{frozen:.1f}",
                f"{found.figure('shuffled_return_iqm'):.1f}",
                with_interval(found, "held_out_return_iqm", 1),
            )


def hebbian_driving() -> Iterator[Row]:
    yield (
        *("what is evolved", "generations, evaluations", "mean, lowest, highest", "IQM (interval)"),
        *("weights frozen where the episode starts", "rules or weights exchanged"),
    )
    for name, evolved in (("car-racing-hebbian", "rules"), ("car-racing-hebbian-fixed", "weights")):
        found = result(f"{name}/ann")
        assert found.provenance is not None
        assert found.provenance.configuration is not None
        individuals = 2 * found.provenance.configuration["experiment"]["algorithm"]["num_pairs"]
        episodes, frozen = found.training[0].episodes or 0, found.figures.get("zeroed_return_mean")
        yield (
            evolved,
            f"{episodes // individuals:,}, {episodes:,}",
            ", ".join(f"{found.figure(f'return_{name}'):.1f}" for name in ("mean", "min", "max")),
            with_interval(found, "return_iqm", 1),
            "-" if frozen is None else f"{frozen:.1f}",
            f"{found.figure('shuffled_return_mean'):.1f}",
        )


def sinusoid() -> Iterator[Row]:
    yield "samples", "learner", "after 0", "after 1", "after 10 (interval)"
    for experiment, samples in (("sinusoid-maml", "10"), ("sinusoid-maml-5-shot", "5, `--set shots=5`")):
        for kind in ("spiking", "ann", "ann-receptive-fields"):
            found = result(f"{experiment}/{kind}")
            means = by_step(found, "loss")
            yield (
                samples if kind == "spiking" else "",
                kind.replace("-", ", ", 1).replace("-", " "),
                f"{means[0]:.2f}",
                f"{means[1]:.3f}",
                with_interval(found, "loss", 3),
            )


def omniglot() -> Iterator[Row]:
    yield "tasks", "learner", "before", "after 3 inner steps (interval)", "untrained, after 3"
    others = rows_of("omniglot-others")

    def committed(tasks: str, learner: str, place: str) -> Row:
        found = result(place)
        assert found.adaptation is not None
        alone = found.adaptation.untrained.get("accuracy")
        untrained = alone[-1] if alone else others[f"untrained {place.split('/')[1]}"]["untrained"]
        after = score_after_adaptation(found, "accuracy", 1)
        return tasks, learner, percent(by_step(found, "accuracy")[0]), after, percent(untrained)

    def other(tasks: str, learner: str, name: str) -> Row:
        row = others[name]
        after = f"{percent(row['after'][0])} ({100 * row['after'][1]:.1f} to {100 * row['after'][2]:.1f})"
        return tasks, learner, percent(row["before"]), after, percent(row["untrained"])

    yield committed("5 ways, 1 shot", "spiking", "omniglot-maml/spiking")
    yield committed("", "ann, 3 seeds", "omniglot-maml/ann")
    alone = ", queries by the support set"
    yield other("", f"spiking{alone}", "support 5-way spiking")
    yield other("", f"ann, first seed{alone}", "support 5-way ann")
    yield other("5 ways, 5 shots", "spiking, trained on 1 shot", "5-shot spiking")
    yield other("", "ann, trained on 1 shot", "5-shot ann")
    yield committed("", "ann, trained on 5 shots", "omniglot-maml-5-shot/ann")
    yield committed("20 ways, 1 shot", "spiking", "omniglot-maml-20-way/spiking")
    yield committed("", "ann", "omniglot-maml-20-way/ann")
    yield other("", f"spiking{alone}", "support 20-way spiking")
    yield other("", f"ann{alone}", "support 20-way ann")
    yield other("the same, 32 filters in each block", "spiking, 2 steps a sample", "20-way-32-filters spiking")
    yield other("", "ann", "20-way-32-filters ann")


def gridworld() -> Iterator[Row]:
    yield (
        *("policy", "before", "after 1 inner step", "after 3 (interval over seeds and tasks)", "seeds at the target"),
        *("worst seed", "after 3, not greedy"),
    )
    for kind in ("spiking", "ann"):
        found = result(f"gridworld-maml/{kind}")
        regrets = by_step(found, "regret")
        yield (
            kind,
            percent(regrets[0]),
            percent(regrets[1]),
            with_interval(found, "regret", 1, 100, " %"),
            at_target(found),
            percent(max(value for value in found.per_seed["regret"] if value is not None)),
            with_interval(found, "regret_stochastic", 1, 100, " %"),
        )


def gridworld_comparison() -> Iterator[Row]:
    start = "policy, meta-learned start"
    rows = learners("ann") | {f"spiking {start}": learners("spiking")[start]}
    (looks,) = {tuple(kept["looks"]) for kept in rows.values()}
    heads = (f"after {int(steps):,}" for steps in looks)
    yield "learner", *heads, "steps to 95 %", "steps before, on training tasks"
    for name, kept in rows.items():
        shares = map(_share, kept["looks"].values())
        yield name, *shares, _steps(kept["env_steps_to_95"], "never"), _before(kept["env_steps_before"])


def _share(look: dict[str, float]) -> str:
    """Of the optimum, with its interval where that is more than rounding."""
    low, high = (f"{100 * look[name]:.1f}" for name in ("low", "high"))
    return percent(look["share"]) + (f" ({low} to {high})" if low != high else "")


def _steps(value: int | None, without: str) -> str:
    return without if value is None else f"{value:,}"


def _before(steps: int) -> str:
    return f"at most {steps:,}" if steps else "0"


TABLES: dict[str, Callable[[], Iterator[Row]]] = {
    "summary": summary,
    "control": control,
    "pendulum": pendulum,
    "games": games,
    "mnist": mnist,
    "local": local,
    "taxi-ablation": taxi_ablation,
    "maze-ablation": maze_ablation,
    "temporal-order": temporal_order,
    "time-to-first-spike": time_to_first_spike,
    "theta-track": theta_track,
    "changing-cues": changing_cues,
    "cartpole-hebbian": hebbian,
    "car-racing-hebbian": hebbian_driving,
    "sinusoid": sinusoid,
    "omniglot": omniglot,
    "gridworld": gridworld,
    "gridworld-comparison": gridworld_comparison,
    "environment-tasks": environment_tasks,
    "any-environment": any_environment,
    "composition": composition,
    "event-driven": event_driven,
    "latency": latency,
    "unvisited": unvisited,
    "action-distributions": action_distributions,
    "stock-algorithms": stock_algorithms,
    "surrogates-cartpole": surrogates_cartpole,
    "surrogates-mnist": surrogates_mnist,
    "surrogates-breakout": surrogates_breakout,
}


def markdown(rows: Iterator[Row]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(f"{len(line)} cells in a table of {len(head)} columns: {line}")
    return "".join(
        "|---" * len(head) + "|\n" if i == 1 else f"| {' | '.join(line)} |\n" for i, line in enumerate(lines)
    )


def rewritten(text: str) -> str:
    """The document with its tables as they should be."""
    return _MARKED.sub(lambda found: found[1] + markdown(TABLES[found[2]]()) + found[3], text)


def names_in(text: str) -> list[str]:
    """The tables that a document has."""
    return [found[2] for found in _MARKED.finditer(text)]


def stale(text: str) -> list[str]:
    """The tables of a document that are not as they should be."""
    now, then = ([found[0] for found in _MARKED.finditer(each)] for each in (text, rewritten(text)))
    return [name for name, a, b in zip(names_in(text), now, then, strict=True) if a != b]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a table differs")
    args = parser.parse_args()
    differing = []
    for name in DOCUMENTS:
        path = REPOSITORY / name
        text = path.read_text()
        if args.check:
            differing += [f"{name}: {table}" for table in stale(text)]
        else:
            path.write_text(rewritten(text))
    if differing:
        sys.exit(f"tables that are not those of experiments/results: {', '.join(differing)} — run `make tables`")


if __name__ == "__main__":
    main()
