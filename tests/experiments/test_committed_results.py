"""What lies under experiments/results loads by the code as it is, and its figures are numbers."""

import json
import math
from pathlib import Path

import pytest

from synrl_ray import load_policy
from synrl_ray.meta.files import load_maml
from synrl_ray.policies.description import format_of
from synrl_ray.registry import all_experiments
from synrl_ray.supervised.files import load_classifier

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/*/result.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_committed_result_loads(folder):
    result = json.loads((folder / "result.json").read_text())
    assert result["experiment"] in all_experiments()
    for name in ("return_iqm", "accuracy", "loss", "regret"):
        assert math.isfinite(result.get(name) or 0)
    assert (folder / "learning_curve.png").stat().st_size > 0
    form = format_of(folder)
    load = load_classifier if form.startswith("classifier") else load_maml if form.startswith("meta") else load_policy
    assert load(folder) is not None
