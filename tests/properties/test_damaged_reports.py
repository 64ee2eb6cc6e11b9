"""Whatever has happened to a file of a run, a report of it is written, or one line says what is wrong."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated

from synrl_ray.errors import UserError
from synrl_ray.reporting.page import page
from synrl_ray.reporting.side_by_side import SideBySide

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
NUMBER = 25 * int(os.environ.get("SYNRL_FUZZ", "1"))


@pytest.mark.parametrize("run", ["pendulum-sac/spiking/seed0", "sinusoid-maml/spiking/seed0"])
@pytest.mark.parametrize("name", ["result.json", "config.json", "metrics.csv", "policy.json"])
def test_a_report_of_damaged_files_is_whole_or_one_line(run, name, tmp_path):
    rng, outcomes = np.random.default_rng(0), set()
    folder = tmp_path / "run"
    shutil.copytree(RESULTS / run, folder)
    content = (folder / name).read_bytes()
    for _ in range(NUMBER):
        (folder / name).write_bytes(mutated(content, rng))
        try:
            comparison = SideBySide.of([folder], trust=False, plays=False)
            outcomes.add(page(comparison).endswith("</html>") and bool(comparison.markdown()))
        except UserError as error:
            outcomes.add(str(error).count("\n"))
    assert outcomes == {True, 0}, "a whole page, or an error without a line break"
