"""The table of kinds of runs: who is in it, and that nothing asks for a kind but by it."""

import json
import pickle
import re
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from subprocess import run
from typing import get_args, get_type_hints

import pytest

import synrl_ray
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, MetaExperiment
from synrl_ray.kinds import KINDS, kind_named, kind_of, kind_of_policy, kind_of_run
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.meta.families import _FAMILIES
from synrl_ray.policies.description import FORMATS, read_description
from synrl_ray.registry import all_experiments, get_experiment
from synrl_ray.running.kind import EvaluationOptions
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

EXPERIMENTS = get_args(get_args(AnyExperiment)[0])  # of a union that says how its members are told apart
PACKAGE = Path(synrl_ray.__file__).parent
RESULTS = Path(__file__).parents[3] / "experiments" / "results"
OPTIONS = {
    "episodes": 2,
    "seed": 0,
    "video": Path("x.mp4"),
    "shots": 2,
    "support_statistics": True,
    "official_runs": True,
}
POLICIES = {
    "control": "cartpole-ppo/spiking",
    "local": "taxi-q-learning/tabular",
    "classification": "mnist-binary/spiking",
    "meta": "sinusoid-maml/ann",
    "evolution": "cartpole-hebbian/ann",
}


def test_every_experiment_and_every_format_has_a_kind_and_every_kind_has_both():
    assert {experiment.kind for experiment in EXPERIMENTS} == set(KINDS)
    assert {form.kind for form in FORMATS.values()} == set(KINDS)
    assert all(kind_of(experiment).name == experiment.kind for experiment in all_experiments().values())
    assert set(_FAMILIES) == set(get_args(get_type_hints(MetaExperiment)["tasks"]))


def test_a_kind_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="kind 'swimming' is not known"):
        kind_named("swimming")


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_a_folder_with_the_same_files_as_the_others(name):
    files = {path.name for path in (PACKAGE / "kinds" / name).glob("*.py")}
    assert files >= {"kind.py", "trainer.py", "checking.py", "evaluating.py", "result.py", "printing.py"}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_travels_to_other_processes_by_names(name):
    sent = pickle.dumps(kind_named(name))
    assert pickle.loads(sent) == kind_named(name)
    assert len(sent) < 5_000


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_ranks_and_shows_what_a_run_writes(name):
    kind = kind_named(name)
    assert all(score.column.startswith("evaluation_") and score.sign in (1, -1) for score in kind.scores)
    assert len({shown.label for shown in kind.shown}) == len(kind.shown)
    assert kind.evaluation_options < {field.name for field in fields(EvaluationOptions)}


@pytest.mark.parametrize("name", KINDS)
def test_a_policy_is_judged_by_the_kind_of_run_that_has_made_it(name):
    assert kind_of_policy(read_description(RESULTS / POLICIES[name])) is kind_named(name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_a_kind_does_not_know_is_refused_with_the_names_of_both(name, option):
    if option in kind_named(name).evaluation_options:
        return
    description = read_description(RESULTS / POLICIES[name])
    expected = f"^--{option.replace('_', '-')} means nothing for {description.format.holds} — leave it out$"
    with pytest.raises(UserError, match=expected):
        evaluate_folder(description, **{option: OPTIONS[option]})


def test_policy_json_is_read_once_for_an_evaluation(tmp_path, monkeypatch):
    shutil.copytree(RESULTS / POLICIES["control"], tmp_path / "policy")
    read = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **options: read.append(text) or loads(text, **options))
    content = (tmp_path / "policy" / "policy.json").read_bytes()
    evaluate_folder(tmp_path / "policy", episodes=1)
    assert read.count(content) == 1


@pytest.mark.parametrize("name", KINDS)
def test_a_run_folder_of_before_names_its_kind_by_task(name, tmp_path):
    experiment = next(e for e in all_experiments().values() if e.kind == name)
    spec = RunSpec(experiment=experiment, policy=experiment.policies[0], seed=0, num_workers=0)
    folder = RunFolder.create(tmp_path / "run", spec)
    config = json.loads((folder.path / "config.json").read_text())
    assert config["experiment"]["kind"] == name
    assert "task" not in config["experiment"]
    config["experiment"]["task"] = config["experiment"].pop("kind")
    (folder.path / "config.json").write_text(json.dumps(config))
    assert folder.spec() == spec
    assert kind_of_run(folder.path) is kind_named(name)


def test_an_experiment_of_another_kind_is_no_mistake_that_passes():
    spec = RunSpec(experiment=get_experiment("mnist-binary"), policy="ann", seed=0, num_workers=0)
    with pytest.raises(TypeError, match="mnist-binary is no Experiment"):
        spec.experiment_as(type(get_experiment("cartpole-ppo")))


def test_nothing_asks_an_experiment_or_tasks_for_their_type():
    types = "|".join(described.__name__ for described in (*EXPERIMENTS, *_FAMILIES))
    asked = re.compile(rf"isinstance\([^)]*\b(?:{types})\b")
    assert [str(path) for path in PACKAGE.rglob("*.py") if asked.search(path.read_text())] == []


def test_the_table_of_kinds_imports_neither_torch_nor_ray():
    code = "import sys, synrl_ray.kinds; sys.exit({'torch', 'ray'} & set(sys.modules) != set())"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_judging_again_imports_no_ray():
    """Whatever the kind; in one process, which imports torch once."""
    code = (
        "import sys; from synrl_ray.kinds import kind_named\n"
        "print([name for name in sys.argv[1:] if kind_named(name) and 'ray' in sys.modules])"
    )
    done = run([sys.executable, "-c", code, *KINDS], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_only_environment_steps_can_be_moved_once_a_run_has_begun():
    cartpole = get_experiment("cartpole-ppo")
    moved = kind_of(cartpole).with_end(cartpole, 7)
    assert (moved.stopping.env_steps, moved.stopping.schedule_steps) == (7, cartpole.stopping.env_steps)
    assert replace(moved, stopping=cartpole.stopping) == cartpole
    hebbian = get_experiment("cartpole-hebbian")
    assert kind_of(hebbian).with_end(hebbian, 7).stopping.env_steps == 7
    for name in ("taxi-q-learning", "mnist-binary", "sinusoid-maml"):
        with pytest.raises(UserError, match=f"{name} cannot end elsewhere once it has begun"):
            kind_of(get_experiment(name)).with_end(get_experiment(name), 7)
