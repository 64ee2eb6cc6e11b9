"""``--env`` from its first line to a policy that is judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from synrl_ray import evaluate, train, tune
from synrl_ray.running.run_folder import RunFolder

pytestmark = pytest.mark.ray
SMALL = ["spiking.hidden_sizes=8", "num_epochs=1", "evaluation.episodes=3", "interval_steps=100000"]


@pytest.mark.usefixtures("local_ray")
def test_a_run_of_an_environment_is_as_whole_as_one_of_an_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = train(env="CartPole-v1", stop_steps=1000, settings=SMALL, run_dir=tmp_path / "run")
    shown = capsys.readouterr().err
    assert shown.startswith("CartPole-v1: chosen by the defaults for vectors")
    assert shown.count("chosen by") == 1
    spec = RunFolder.open(trained.folder).spec()
    assert spec.experiment.stopping.env_steps == 1000
    assert trained.result.provenance is not None
    assert trained.result.provenance.command == (
        "synrl train --env CartPole-v1 --set 'spiking.hidden_sizes=[8]' num_epochs=1 env_steps=1000 episodes=3 "
        "interval_steps=100000"
    )
    assert trained.result.interval("sampled_gain_iqm") is not None
    again = train(resume=trained.folder)  # it has ended, and is left as it is
    assert again.result == trained.result
    assert "chosen by" not in capsys.readouterr().err
    judged = evaluate(trained.folder)
    assert judged.result.greedy == trained.result.greedy
    assert judged.result.experiment == "CartPole-v1"


@pytest.mark.usefixtures("local_ray")
def test_a_search_takes_an_environment_too(tmp_path: Path) -> None:
    said: list[str] = []
    settings = [SMALL[0], *SMALL[2:], "algorithm=a2c"]
    searched = tune(
        env="CartPole-v1", samples=1, stop_steps=500, settings=settings, run_dir=tmp_path / "study",
        scheduler="none", say=said.append,
    )  # fmt: skip
    assert said[0].startswith("CartPole-v1: chosen by the defaults for vectors")
    assert "algorithm.lr" in searched.best
