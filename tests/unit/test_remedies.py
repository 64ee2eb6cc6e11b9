"""What a message advises is not refused itself: the advised command gets as far as starting Ray."""

import re
import shlex

import pytest

from synrl_ray.cli import main
from synrl_ray.registry import get_experiment
from synrl_ray.running import seeds
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning import session

ID = "cartpole-ppo"


class Started(Exception):
    pass


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """An empty working and home directory, and no Ray."""

    def start(*arguments, **options):
        raise Started

    for module in (seeds, session):
        monkeypatch.setattr(module, "ray_session", start)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.chdir(tmp_path)


def answer(capsys, argv):
    """What a command says when it is refused; empty where it starts."""
    try:
        main(argv)
    except Started:
        return ""
    except SystemExit:
        pass
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "advice", "advised"),
    [
        ("train", "or --resume RUN_DIR", "train --resume here"),
        (f"train --set lr=1e-3 {ID}", "name the experiment before the options", f"train {ID} --set lr=1e-3"),
        (f"train {ID} --seed 1 --seeds 2", "--seeds N", f"train {ID} --seeds 2"),
        (f"train {ID} --policy tabular", "leave --policy out", f"train {ID}"),
        (
            "train sinusoid-maml --stop-steps 5",
            "--set meta_iterations=N",
            "train sinusoid-maml --set meta_iterations=5",
        ),
        ("train mnist-binary --num-workers 1", "leave it out", "train mnist-binary"),
        ("tune mnist-binary --num-workers 1", "leave it out", "tune mnist-binary"),
        ("train cartpole-dqn --num-learners 2", "leave it out", "train cartpole-dqn"),
        (
            "train cartpole-dqn --set carry_state=true",
            "set spiking.carry_state=false",
            "train cartpole-dqn --set spiking.carry_state=false",
        ),
        (
            "train cartpole-dqn --policy ann --set ann.frame_stack=4",
            "set ann.frame_stack=1",
            "train cartpole-dqn --policy ann --set ann.frame_stack=1",
        ),
        (
            "train cartpole-dqn --set spiking.normalise_observations=true",
            "set spiking.normalise_observations=false",
            "train cartpole-dqn --set spiking.normalise_observations=false",
        ),
        (
            f"train {ID} --set env=FrozenLake-v1 spiking.normalise_observations=true",
            "set spiking.normalise_observations=false",
            f"train {ID} --set env=FrozenLake-v1 spiking.normalise_observations=false",
        ),
        ("train here --run-dir here", "did you mean", f"train {ID}"),
        (f"train {ID} --run-dir here", "continue it with `synrl train --resume here`", "train --resume here"),
        (f"train {ID} --run-dir here", "or choose another --run-dir", f"train {ID} --run-dir there"),
        (f"tune {ID} --run-dir here", "choose another --run-dir", f"tune {ID} --run-dir there"),
        ("train --resume there", "name a folder that `synrl train` has made", "train --resume here"),
        ("train --resume here --set lr=1", "a resumed run keeps its own settings", "train --resume here"),
        (f"tune {ID} --space", "--space lr=log:1e-4..1e-2", f"tune {ID} --space lr=log:1e-4..1e-2"),
        (f"tune {ID} --scheduler pbt --samples 1", "--samples 8", f"tune {ID} --scheduler pbt --samples 8"),
    ],
)
def test_advice_is_taken(capsys, tmp_path, monkeypatch, command, advice, advised):
    monkeypatch.setattr("synrl_ray.kinds.classification.checking.load_mnist", lambda *classes: None)
    spec = RunSpec(experiment=get_experiment(ID), policy="spiking", seed=0, num_workers=0)
    RunFolder.create(tmp_path / "here", spec)
    assert advice in answer(capsys, shlex.split(command))
    assert answer(capsys, shlex.split(advised)) == ""


@pytest.mark.parametrize("name", ["a b", "it's", "-x", "ü", "日本", "a\nb", "$HOME", "\udcff"], ids=ascii)
@pytest.mark.parametrize("verb", ["train", "tune"])
def test_the_command_that_goes_on_can_be_pasted_whatever_the_folder_is_called(capsys, tmp_path, verb, name):
    option = f"--run-dir={name}"
    with pytest.raises(Started):
        main([verb, ID, option])
    if verb == "train":
        RunFolder.create(
            tmp_path / name, RunSpec(experiment=get_experiment(ID), policy="spiking", seed=0, num_workers=0)
        )
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text("{}")
    said = answer(capsys, [verb, ID, option])
    assert said.count("\n") == 1
    words = shlex.split(re.search(r"`(.*)`", said)[1])
    assert words[:3] == ["synrl", verb, "--resume"]
