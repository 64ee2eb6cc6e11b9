"""What lies under experiments/results loads by the code as it is, and its figures are numbers."""

import json
import math
from pathlib import Path

import pytest

from synrl_ray.policies.description import read_description
from synrl_ray.registry import all_experiments

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/*/result.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_committed_result_loads(folder):
    result = json.loads((folder / "result.json").read_text())
    assert result["experiment"] in all_experiments()
    for name in ("return_iqm", "accuracy", "loss", "regret"):
        assert math.isfinite(result.get(name) or 0)
    assert (folder / "learning_curve.png").stat().st_size > 0
    assert read_description(folder).load() is not None
