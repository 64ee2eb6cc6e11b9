"""Results as they were written before they had a version: dictionaries whose keys differed from kind to kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_UNITS = ("env_steps", "samples", "meta_iterations")
_SCORES = ("success_rate", "success_rate_iqm", "accuracy", "regret", "regret_iqm", "loss", "return_iqm")
_FIGURES = (
    *(f"return_{name}" for name in ("mean", "std", "iqm", "min", "max")),
    "evaluation_episodes",
    *("regret", "regret_iqm", "value", "optimum", "optimum_with_clock", "num_first_states"),
    *("success_rate", "success_rate_iqm", "path_ratio", "path_ratio_iqm"),
    *("accuracy", "errors", "loss", "regret_stochastic"),
    *("env_steps_to_target_iqm", "seconds_to_target_iqm"),
)
_RENAMED = {
    "evaluation_episodes": "episodes",
    "env_steps_to_target_iqm": "steps_to_target_iqm",
    "env_steps_to_target_ci95": "steps_to_target_ci95",
}


def from_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the form of version 2; what version 1 did not say is ``None``, never made up.

    Raises:
        KeyError, TypeError, ValueError: if it is no such result.
    """
    several = "seeds" in data
    figures = dict(_figures(data))
    protocol = dict(data["protocol"])
    intervals = list(_intervals(data, protocol, figures, several=several))
    score = next((name for name in _SCORES if figures.get(name) is not None), None)
    if score is None:
        raise ValueError("it has none of the figures that a policy is judged by")
    return {
        "schema": 2,
        "experiment": data.get("experiment"),
        "policy": data["policy"],
        "score": score,
        "figures": figures,
        "intervals": intervals,
        "protocol": protocol,
        "training": _training(data) if several or "seed" in data else [],
        "per_seed": {name.removesuffix("_per_seed"): values for name, values in data.items() if _is_per_seed(name)}
        | ({"errors": data["errors"]} if isinstance(data.get("errors"), list) else {}),
        "target": _target(data, several=several),
        "greedy": _episodes(data, protocol),
        "adaptation": _adaptation(data),
        "energy": data.get("energy"),
        "confusion": data.get("confusion"),
        "comparison": data.get("comparison"),
        "provenance": {"versions": data.get("versions")},
    }


def _is_per_seed(name: str) -> bool:
    return name.endswith("_per_seed")


def _figures(data: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Its plain numbers, and those figures that stand there as unknown."""
    for name in _FIGURES:
        value = data.get(name)
        if name in data and not isinstance(value, list):
            yield _RENAMED.get(name, name), value


def _intervals(
    data: Mapping[str, Any], protocol: Mapping[str, Any], figures: Mapping[str, Any], *, several: bool
) -> Iterator[dict[str, Any]]:
    for name, bounds in data.items():
        if not name.endswith("_ci95") or bounds is None:
            continue
        of = _RENAMED.get(name, name).removesuffix("_ci95")
        of = f"{of}_iqm" if f"{of}_iqm" in figures else of
        if "test_tasks" in protocol:
            over = "seeds" if several else "official runs" if "runs" in str(protocol.get("interval")) else "test tasks"
            method = "percentile bootstrap of the interquartile mean" if several else "1.96 standard errors"
        elif of == "accuracy":
            over, method = "test images", "Wilson score interval"
        elif of == "return_iqm":
            over, method = "episodes, stratified by seed" if several else "episodes", "percentile bootstrap"
        else:
            over, method = "seeds", "percentile bootstrap"
        yield {"of": of, "low": bounds[0], "high": bounds[1], "level": 0.95, "method": method, "over": over}


def _training(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    unit = next((unit for unit in _UNITS if unit in data), "samples")
    seeds = data["seeds"] if "seeds" in data else [data["seed"]]

    def of(name: str) -> list[Any]:
        value = data.get(name)
        return value if isinstance(value, list) else [value] * len(seeds)

    columns = {
        "seed": seeds,
        "steps": of(unit),
        "wall_seconds": of("wall_seconds"),
        "episodes": of("episodes"),
        "steps_to_target": of("env_steps_to_target"),
        "seconds_to_target": of("seconds_to_target"),
        "time_shares": of("time_shares"),
        "num_workers": of("num_workers"),
        "num_learners": of("num_learners"),
    }
    return [{"unit": unit, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def _target(data: Mapping[str, Any], *, several: bool) -> dict[str, Any] | None:
    target = data.get("target")
    if isinstance(target, (int, float)):
        target = {"regret" if "regret_per_seed" in data else "return_mean": target}
    if several and "seeds_that_end_at_target" in data:
        found = data.get("seeds_that_reached_target")
        return {"bounds": target, "in_training": found, "at_end": data["seeds_that_end_at_target"]}
    if data.get("target_reached") is not None:
        return {"bounds": None, "in_training": None, "at_end": int(data["target_reached"])}
    return None


def _episodes(data: Mapping[str, Any], protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """Version 1 kept the returns of single runs, in the order of the environment's seeds."""
    if "returns" not in data:
        return None
    first = int(protocol["first_seed"])
    return {"seeds": list(range(first, first + len(data["returns"]))), "returns": data["returns"]}


def _adaptation(data: Mapping[str, Any]) -> dict[str, Any] | None:
    def columns(source: Mapping[str, Any], ending: str) -> dict[str, Any]:
        return {
            name.removesuffix(ending): values
            for name, values in source.items()
            if name.endswith(ending) and name != "env_steps_by_step"
        }

    by_step = columns(data, "_by_step")
    if not by_step:
        return None
    return {
        "by_step": by_step,
        "errors": columns(data, "_by_step_error95"),
        "env_steps": data.get("env_steps_by_step"),
        "untrained": columns(data.get("untrained", {}), "_by_step"),
    }
