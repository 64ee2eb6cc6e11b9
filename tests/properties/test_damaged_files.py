"""Whatever has happened to a file of a run, a policy or a search, it loads, or one line says what is wrong.

A fuzzer: each kind of file is damaged some hundred times, the same way in each run. ``SYNRL_FUZZ=20`` tries 20 times
as many damages.
"""

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated

from synrl_ray.errors import UserError
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.kinds import kind_of, kind_of_run
from synrl_ray.kinds.acting import environment_of
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.meta.files import load_maml
from synrl_ray.overrides import apply_overrides, read_settings
from synrl_ray.policies.description import damage_of, read_description
from synrl_ray.policies.loading import load_policy
from synrl_ray.registry import get_experiment
from synrl_ray.results import Episodes, Result, TargetReached, read_result
from synrl_ray.running.kind import Outcome
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.seeds import resume_run
from synrl_ray.running.spec import RunSpec
from synrl_ray.supervised.files import load_classifier
from synrl_ray.tuning import space
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.study_folder import StudyFolder
from synrl_ray.tuning.trials import Trial

RESULTS = Path("experiments/results")
TIMES = int(os.environ.get("SYNRL_FUZZ", "1"))
NUMBER, FEW = 100, 12
MOST_MB = 700


def run_of(experiment: str, policy: str, folder: Path) -> RunFolder:
    """An ended run, with everything that lies in its folder."""
    spec = RunSpec(experiment=get_experiment(experiment), policy=policy, seed=0, num_workers=0)
    run = RunFolder.create(folder, spec)
    for path in (RESULTS / experiment / policy).glob("policy.*"):
        shutil.copy(path, folder)
    found = read_result(RESULTS / experiment / policy)
    assert found is not None
    run.write_result(_of_one_seed(found))
    shown = {"return_mean": 20.0, "evaluation_return_mean": 20.0, "evaluation_return_low": 1.0}
    shown |= {"evaluation_return_high": 30.0, "evaluation_regret": 1.0, "evaluation_loss": 1.0, "wall_seconds": 1.0}
    for iteration in (1, 2, 3):
        counted = dict.fromkeys(("env_steps", "meta_iterations"), 1000 * iteration)
        run.append_metrics({"iteration": iteration, **counted, **shown})
    run.save_checkpoint(lambda path: path.mkdir(), Position(iteration=3, steps=3000))
    run.copy.begin(str(folder.parent / "there"))
    return run


def _of_one_seed(result: Result) -> Result:
    """What a run of its own writes, made from the committed result of several seeds."""
    exact = {"value": 7.9, "optimum": 7.9, "num_first_states": 300} if "regret_iqm" in result.figures else {}
    single = {name: values[0] for name, values in result.per_seed.items()}
    return replace(
        result,
        figures={**result.figures, **exact, **single},
        training=result.training[:1],
        per_seed={},
        greedy=Episodes(seeds=(0, 1), returns=(1.0, 2.0)),
        target=TargetReached(bounds={"mean_return": 475.0}, in_training=1, at_end=1),
    )


def study_of(folder: Path) -> StudyFolder:
    experiment = get_experiment("cartpole-ppo")
    run = RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0)
    study = StudyFolder.create(folder, Study(run=run, samples=2, settings={"algorithm.gamma": 0.9}))
    drawn = [space.draw(experiment, experiment.search_space, np.random.default_rng(i)) for i in (0, 1)]
    study.write_trials([Trial(index=i, settings=drawn[i], curve=[(10, 1.0)], total=20) for i in (0, 1)])
    study.write_best({"algorithm.lr": 0.01})
    return study


def look_at(folder: Path) -> None:
    """All that reads an ended run, but for playing."""
    outcome = resume_run(folder, kind_of_run(folder), stop_steps=None, address=None, watch=lambda progress: None)
    with damage_of(folder / "result.json"):
        kind_of_run(folder).print_outcome(outcome)


def draw(folder: Path) -> None:
    run = RunFolder.open(folder)
    save_figures(kind_of(run.spec().experiment).figures([run]), folder)


def combine(folder: Path) -> None:
    run = RunFolder.open(folder)
    kind = kind_of(run.spec().experiment)
    with damage_of(folder):
        result = kind.combine([run.result(), run.result()], run.spec())
        kind.print_outcome(Outcome(result=result, folder=folder, runs=(folder, folder), spec=run.spec()))


def checkpoint(folder: Path) -> None:
    with RunFolder.open(folder).opened_checkpoint(only_own=True):
        pass


def play(folder: Path) -> None:
    environment_of(read_description(folder))
    evaluate_folder(folder, episodes=1, seed=0)


SLOW = (draw, play)
CARTPOLE, TAXI, SINUSOID = ("cartpole-ppo", "spiking"), ("taxi-q-learning", "tabular"), ("sinusoid-maml", "spiking")
FILES = [
    *(("policy.json", run, load) for run, load in [(CARTPOLE, play), (("maze-rstdp", "spiking"), load_policy)]),
    *(("policy.json", run, load_policy) for run in [("breakout-a2c", "spiking"), TAXI, ("taxi-stdp-q", "spiking")]),
    ("policy.json", ("cartpole-hebbian", "ann"), load_policy),
    *(("policy.safetensors", run, load_policy) for run in [CARTPOLE, ("shower-ppo", "ann"), TAXI]),
    *((name, ("mnist-binary", "spiking"), load_classifier) for name in ("policy.json", "policy.safetensors")),
    *((name, SINUSOID, load_maml) for name in ("policy.json", "policy.safetensors")),
    *(("policy.json", run, load_maml) for run in [("omniglot-maml", "spiking"), ("gridworld-maml", "ann")]),
    *(("result.json", run, load) for run in [CARTPOLE, TAXI, SINUSOID] for load in (look_at, combine)),
    *(("config.json", run, look_at) for run in [CARTPOLE, TAXI, SINUSOID]),
    *(("metrics.jsonl", run, draw) for run in [CARTPOLE, TAXI, SINUSOID]),
    ("storage.json", CARTPOLE, look_at),
    *((f"checkpoint/{name}", CARTPOLE, checkpoint) for name in ("position.json", "seal.json")),
    ("../there/synrl-copy.json", CARTPOLE, lambda folder: RunFolder(folder).copy.require_free(f"{folder}/../there")),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def attack(path: Path, load, number: int = NUMBER) -> None:
    """Damage the file again and again; nothing but a line comes of it, and no memory is filled."""
    original = path.read_bytes()
    load()
    lines, before = [], most_memory()
    for seed in range(number * TIMES):
        path.write_bytes(mutated(original, np.random.default_rng([len(original), seed])))
        try:
            load()
        except UserError as error:
            lines.append(str(error))
        except BaseException as error:
            error.add_note(f"after damage {seed} of {path}")
            raise
        assert most_memory() - before < MOST_MB, f"damage {seed} of {path}"
    assert len(lines) > number / 20 or path.name == "metrics.jsonl", "hardly any damage was noticed"
    assert [line for line in lines if not (line.isprintable() and line)] == []


def most_memory() -> float:
    """The most that this process has ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(("name", "run", "load"), FILES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_damaged_file_of_a_run_loads_or_is_a_line(tmp_path, name, run, load):
    folder = run_of(*run, tmp_path / "run").path
    attack(folder / name, lambda: load(folder), FEW if load in SLOW else NUMBER)


@pytest.mark.parametrize("name", ["study.json", "trials.jsonl"])
def test_a_damaged_file_of_a_search_loads_or_is_a_line(tmp_path, name):
    folder = study_of(tmp_path / "study")
    attack(folder.path / name, lambda: (folder.study(), folder.trials()))


def test_a_damaged_file_of_settings_loads_or_is_a_line(tmp_path):
    study_of(tmp_path / "study")
    path = tmp_path / "study" / "best.json"
    attack(path, lambda: apply_overrides(get_experiment("cartpole-ppo"), [], read_settings(path)))
