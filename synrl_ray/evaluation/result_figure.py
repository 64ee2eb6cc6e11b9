"""One picture of a result: its episodes, how it adapts, or what it takes for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synrl_ray.evaluation.confusion_figure import confusion_figure
from synrl_ray.evaluation.curves import DPI, PALETTE, SIZE_INCHES
from synrl_ray.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def result_figure(result: Result) -> Figure:
    """Returns of episodes, greedy and drawn; scores by inner steps; or the confusion of classes: what there is.

    Raises:
        ValueError: for a result of several seeds, whose members hold these.
    """
    from matplotlib.figure import Figure

    if result.confusion is not None:
        return confusion_figure(np.array(result.confusion), result.protocol["classes"])
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    if result.greedy is not None:
        _draw_returns(axes, result)
    elif result.adaptation is not None:
        _draw_adaptation(axes, result)
    else:
        raise ValueError("this result has nothing to draw: those of its seeds have")
    figure.suptitle(f"{result.experiment}: {result.policy}", fontsize=13, fontweight="bold")
    return figure


def _draw_returns(axes: Axes, result: Result) -> None:
    for index, (label, episodes) in enumerate((("greedy", result.greedy), ("drawn actions", result.sampled))):
        if episodes is not None:
            axes.plot(sorted(episodes.returns), ".-", color=PALETTE[index], label=label, linewidth=0.8)
    axes.set_xlabel("episodes, in order of their returns")
    axes.set_ylabel("return (reward units)")
    axes.legend(frameon=False)


def _draw_adaptation(axes: Axes, result: Result) -> None:
    assert result.adaptation is not None
    means = result.adaptation.by_step[result.score]
    errors = result.adaptation.errors.get(result.score)
    axes.errorbar(range(len(means)), means, yerr=errors, marker="o", capsize=3, color=PALETTE[0], label="meta-learned")
    untrained = result.adaptation.untrained.get(result.score)
    if untrained is not None:
        axes.plot(untrained, marker="o", color=PALETTE[1], label="as it was made")
    axes.set_xlabel("inner steps")
    axes.set_ylabel(result.score)
    axes.legend(frameon=False)
