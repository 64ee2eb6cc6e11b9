"""Commands that a run's messages print, given to the command line: they describe the same run."""

import shlex
from pathlib import Path

import pytest

from synrl_ray.api import training
from synrl_ray.cli import main
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.running.again import resume_command, train_command, twin_command
from synrl_ray.running.spec import RunSpec


class Given(Exception):
    pass


@pytest.mark.parametrize("num_seeds", [None, 3])
@pytest.mark.parametrize(
    ("name", "assignments", "run_dir", "options"),
    [
        ("cartpole-ppo", [], None, {}),
        ("cartpole-ppo", ["lr=0.5", "env=Acrobot-v1", "spiking.hidden_sizes=[8]"], "my runs/it's", {}),
        ("sinusoid-maml", ["shots=5"], None, {"storage": "memory://a b/c", "track": "wandb"}),
        ("mnist-binary", ["digits=1,2,3"], "-x", {"address": "127.0.0.1:6379", "trust": True}),
    ],
)
def test_the_printed_command_describes_the_same_run(
    monkeypatch, tmp_path, name, assignments, run_dir, options, num_seeds
):
    monkeypatch.chdir(tmp_path)
    base = get_experiment(name)
    spec = RunSpec(
        experiment=apply_overrides(base, assignments),
        policy=base.policies[1],
        seed=0 if num_seeds else 2,
        num_workers=1,
    )
    usual = Path("runs") / name if num_seeds else Path("runs") / name / f"{spec.policy}-seed2"
    place = Path(run_dir) if run_dir else usual
    printed = train_command(spec, place, seeds=num_seeds, **options)
    assert ("--run-dir" in printed) == bool(run_dir)

    def take(specs, folders, kind, *, watch, **options):
        raise Given(specs, folders, options)

    monkeypatch.setattr(training, "train_seeds", take)
    with pytest.raises(Given) as given:
        main(shlex.split(printed)[1:])
    specs, folders, found = given.value.args
    assert [each.seed for each in specs] == ([0, 1, 2] if num_seeds else [2])
    assert specs[0] == spec
    assert folders == ([place / f"{spec.policy}-seed{seed}" for seed in range(3)] if num_seeds else [place])
    assert found == {"address": None, "trust": False, "storage": None, "track": None} | options


@pytest.mark.parametrize("folder", [".", "", "../ann-seed0"])
def test_a_twin_lies_beside_a_run_however_that_is_named(monkeypatch, tmp_path, folder):
    (tmp_path / "spiking-seed0").mkdir()
    (tmp_path / "ann-seed0").mkdir()
    monkeypatch.chdir(tmp_path / "ann-seed0")
    spec = RunSpec(experiment=get_experiment("cartpole-ppo"), policy="ann", seed=0, num_workers=0)
    assert twin_command(spec, Path(folder)) is None  # it is there, and no policy in it
    (tmp_path / "spiking-seed0" / "policy.json").touch()
    assert shlex.split(twin_command(spec, Path(folder)))[-1].endswith("spiking-seed0")


def test_what_is_trusted_is_trusted_when_it_goes_on():
    assert shlex.split(resume_command("train", Path("a"), trust=True))[1:] == ["train", "--resume", "a", "--trust"]


def test_a_run_on_a_cluster_goes_on_there():
    assert shlex.split(resume_command("tune", Path("a b"), "host:1"))[1:] == [
        *("tune", "--resume", "a b", "--address", "host:1")
    ]
