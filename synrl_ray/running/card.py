"""A policy's card, for whoever is handed the policy: what it is, how it was judged, what that does not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from synrl_ray.results import Result
from synrl_ray.running.spec import RunSpec

CARD_FILE = "card.md"


def card(result: Result, spec: RunSpec | None = None, licence: str | None = None) -> str:
    """The card, as Markdown.

    Args:
        result: of the run.
        spec: what was run, where that is known.
        licence: under which the policy is shared.
    """
    parts = [_what(result, spec), _figures(result), _judged(result), _limits(result), _again(result)]
    said = licence or "Not stated. Whoever shares the policy says under which it may be used."
    return "\n".join([*(line for part in parts for line in (*part, "")), "## Licence", "", _plain(said), ""])


def _what(result: Result, spec: RunSpec | None) -> Iterator[str]:
    yield f"# {_plain(result.experiment or result.protocol.get('environment', 'A policy'))}: {_plain(result.policy)}"
    yield ""
    if spec is not None:
        yield f"{_plain(spec.experiment.summary)}."
    for each in result.training:
        steps = "" if each.steps is None else f"{each.steps:,} {_plain(each.unit.replace('_', ' '))}, "
        yield f"Trained with seed {each.seed}: {steps}{each.wall_seconds:,.0f} s."


def _figures(result: Result) -> Iterator[str]:
    yield "| figure | value | interval | over |"
    yield "|---|---|---|---|"
    for row in result.table():
        value = "-" if row["value"] is None else f"{row['value']:.6g}"
        sure = f"{row['low']:.6g} to {row['high']:.6g}" if "low" in row else "-"
        yield f"| {_plain(row['figure'])} | {value} | {sure} | {_plain(row.get('over', '-'))} |"
    if result.energy is not None and "policy" in result.energy:
        yield ""
        yield f"A decision takes {result.energy['policy']['energy_pj'] / 1000:.3g} nJ by the count of operations."


def _judged(result: Result) -> Iterator[str]:
    yield "## How it was judged"
    yield ""
    yield from (f"- {_plain(name)}: {_plain(value)}" for name, value in result.protocol.items() if name != "statistics")


def _limits(result: Result) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "- The figures are of the environment or the data above, by that protocol, and say nothing of others."
    if len(result.training) > 1:
        yield f"- The figures are of {len(result.training)} seeds together; the file holds the policy of the first."
    elif result.training:
        yield "- One seed was trained. Intervals hold the policy fixed: another seed may train a better or worse one."
    one = len(result.training) <= 1
    count, distinct = result.figures.get("episodes"), result.figures.get("distinct_episodes")
    if one and count is not None and distinct is not None and distinct < count:
        yield f"- Only {distinct:,} of {count:,} greedy episodes differ; the others are copies."
    if result.target is not None and not result.target.at_end:
        yield "- It does not reach the target of its experiment."


def _again(result: Result) -> Iterator[str]:
    yield "## Again"
    yield ""
    made = result.provenance
    if made is None or made.command is None:
        yield "The command that trained it is not recorded."
        return
    yield from ("```console", f"$ {' '.join(made.command.replace('`', '').split())}", "```", "")
    used = [] if made.commit is None else [f"synrl_ray at {_plain(made.commit)}"]
    yield f"With {', '.join([*used, *(f'{_plain(n)} {_plain(v)}' for n, v in (made.versions or {}).items())])}."


def _plain(text: Any) -> str:
    """Text that means nothing in Markdown: a result may be a stranger's."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(str(text).split()))
