"""Small made-up run folders."""

import json
from dataclasses import replace

import pytest

from synrl_ray.cli import main
from synrl_ray.registry import get_experiment
from synrl_ray.results import Episodes, Interval, Provenance, Result, Training, write_result
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

ENERGY = {"policy": {"energy_pj": 2000.0, "parameters": 10}, "matched_ann": {"energy_pj": 8000.0}}


def result_of(spec, score, **fields):
    interval = Interval(of="return_iqm", low=score - 10, high=score + 10, method="bootstrap", over="episodes")
    return Result(
        **{
            "experiment": spec.experiment.id,
            "policy": spec.policy,
            "score": "return_iqm",
            "figures": {"return_iqm": score, "return_mean": score},
            "greedy": Episodes(seeds=(7, 8), returns=(score - 1, score + 1)),
            "intervals": (interval,),
            "protocol": {"environment": "CartPole-v1", "episodes": 100, "first_seed": 7},
            "training": (Training(seed=spec.seed, unit="env_steps", steps=2000, wall_seconds=10.0),),
            "energy": ENERGY,
            "provenance": Provenance(versions={"ray": "1.2.3"}, commit="abc"),
        }
        | fields
    )


@pytest.fixture
def make_run(tmp_path):
    """Writes a run of CartPole below a folder: ``make_run("a/seed0", seed=0, score=1.0)``; no score: not ended."""

    def make(name, *, seed=0, score=100.0, policy="spiking", rows=2, experiment=None, **fields):
        path = tmp_path / name
        made = experiment or get_experiment("cartpole-ppo")
        spec = RunSpec(experiment=made, policy=policy, seed=seed, num_workers=0)
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(spec.to_json()))
        folder = RunFolder(path)
        for i in range(1, rows + 1):
            row = {"iteration": i, "env_steps": 1000 * i, "return_mean": 10.0 * i + seed}
            folder.append_metrics(row | {"evaluation_return_mean": 20.0 * i + seed})
        if score is not None:
            write_result(path, result_of(spec, score, **fields))
        return path

    return make


@pytest.fixture
def printed(capsys):
    """Runs a command that succeeds, and gives what it prints."""

    def run(*argv):
        with pytest.raises(SystemExit) as caught:
            main(list(argv))
        assert not caught.value.code
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def other_environment():
    experiment = get_experiment("cartpole-ppo")
    return replace(experiment, environment=replace(experiment.environment, id="Acrobot-v1"))
