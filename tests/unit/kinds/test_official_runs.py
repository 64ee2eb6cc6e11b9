"""Omniglot's official one-shot runs as a judge, with drawings that tell their class by the place of their ink."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from synrl_ray.cli import main
from synrl_ray.data import omniglot_runs
from synrl_ray.data.omniglot_runs import OneShotRuns
from synrl_ray.errors import UserError
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.meta import families
from synrl_ray.meta.families import family_of
from synrl_ray.meta.files import save_maml
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.official_runs import official_tasks
from synrl_ray.settings.maml import Maml
from synrl_ray.settings.meta import AnnLearner, OmniglotTasks, SinusoidTasks

RESULTS = Path(__file__).parents[3] / "experiments" / "results"
LEARNER = AnnLearner(channels=8, hidden_sizes=(8,))
TWENTY = OmniglotTasks(ways=20, shots=1)


def drawn(classes):
    """A block of ink whose place is the class."""
    images = np.zeros((*classes.shape, 28, 28), np.uint8)
    for where, number in np.ndenumerate(classes):
        row, column = divmod(int(number), 5)
        images[where][7 * row : 7 * row + 6, 5 * column : 5 * column + 5] = 255
    return images


@pytest.fixture
def runs(monkeypatch):
    labels = np.stack([np.random.default_rng(run).permutation(20) for run in range(20)])
    found = OneShotRuns(drawn(np.tile(np.arange(20), (20, 1))), drawn(labels), labels)
    monkeypatch.setattr(omniglot_runs, "official_runs", lambda: found)
    return found


def write_learner(folder, tasks=TWENTY, data="omniglot-background"):
    torch.manual_seed(0)
    folder.mkdir()
    maml = MamlModel(family_of(tasks).network(LEARNER), Maml(inner_lr=0.4))
    save_maml(maml, LEARNER, tasks, folder, experiment="omniglot-maml", data=data)
    return folder


def test_runs_are_tasks(runs):
    tasks = official_tasks(runs)
    assert tasks.support_x.shape == tasks.query_x.shape == (20, 20, 1, 28, 28)
    assert tasks.support_x.max() == 1
    for run in (0, 19):
        for item, answer in enumerate(tasks.query_y[run].tolist()):
            assert torch.equal(tasks.query_x[run, item], tasks.support_x[run, answer])
    assert tasks.support_y.tolist() == [list(range(20))] * 20


def test_a_learner_that_adapts_finds_the_classes_again(runs, tmp_path, capsys):
    folder = write_learner(tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--official-runs", "--json"])
    assert not ended.value.code
    result = json.loads(capsys.readouterr().out)
    assert result["adaptation"]["by_step"]["accuracy"][0] < 0.1  # the network is untrained
    assert result["figures"]["accuracy"] > 0.2
    assert result["protocol"]["test_tasks"] == 20
    assert result["protocol"]["trained_on"] == "omniglot-background"
    with pytest.raises(SystemExit):
        main(["evaluate", str(folder), "--official-runs"])
    assert "20 test tasks of Omniglot, the official one-shot runs, 20-way 1-shot" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("tasks", "data", "message"),
    [
        (OmniglotTasks(ways=5, shots=1), "omniglot-small", "the learner is for 5 ways and shots=1"),
        (TWENTY, "omniglot", "was trained on omniglot, which may have"),
        (SinusoidTasks(), "sinusoids", "the learner is for sinusoids"),
    ],
)
def test_a_learner_that_the_runs_do_not_fit_is_refused(runs, tmp_path, tasks, data, message):
    with pytest.raises(UserError, match=message):
        evaluate_folder(write_learner(tmp_path / "run", tasks, data), official_runs=True)


def test_other_options_do_not_go_with_the_runs(runs, tmp_path):
    with pytest.raises(UserError, match="--episodes and --official-runs do not go together"):
        evaluate_folder(write_learner(tmp_path / "run"), episodes=3, official_runs=True)
    with pytest.raises(UserError, match="--official-runs means nothing for a policy"):
        evaluate_folder(RESULTS / "cartpole-ppo" / "spiking", official_runs=True)


def test_a_learner_is_judged_on_the_set_that_it_was_trained_on(tmp_path, monkeypatch):
    def missing(name=None, *_):
        raise UserError(f"{name} is asked for", "")

    monkeypatch.setattr(families, "load_omniglot", missing)
    folder = write_learner(tmp_path / "run", TWENTY, "omniglot-small")  # settings that name no set
    with pytest.raises(UserError, match=r"^omniglot-small is asked for"):
        evaluate_folder(folder)
