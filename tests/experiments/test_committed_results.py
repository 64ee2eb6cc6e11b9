"""What lies under experiments/results loads by the code as it is, and is what its policies give."""

import math
import os
from pathlib import Path

import pytest

from synrl_ray import load_policy
from synrl_ray.kinds.auditing import audit
from synrl_ray.meta.files import load_maml
from synrl_ray.policies.description import read_description
from synrl_ray.registry import all_experiments
from synrl_ray.results import read_result
from synrl_ray.supervised.files import load_classifier

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/*/result.json"))
SAMPLE = ("cartpole-ppo/spiking", "taxi-stdp-q/spiking", "gridworld-maml/ann")
LOADERS = {"classification": load_classifier, "meta": load_maml}


def name_of(folder):
    return f"{folder.parent.name}/{folder.name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_committed_result_loads(folder):
    result = read_result(folder)
    assert result.experiment in all_experiments()
    assert math.isfinite(result.figure(result.score))
    assert result.interval(result.score).over
    assert result.provenance.versions
    assert result.run is None
    assert (folder / "learning_curve.png").stat().st_size > 0
    load = LOADERS.get(read_description(folder).format.kind, load_policy)
    assert load(folder) is not None


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_results_is_what_its_policies_give(name):
    (found,) = audit(RESULTS / name)
    assert found.differences == ()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_result_is_what_its_policies_give(folder):
    if folder.parent.name.startswith(("mnist", "omniglot")) and "SYNRL_DATA" not in os.environ:
        pytest.skip("SYNRL_DATA names no folder of data sets")
    (found,) = audit(folder)
    assert found.differences == ()
