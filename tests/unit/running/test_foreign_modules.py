"""Evaluating a policy may import the module that its environment is in: named, and a stranger's only if trusted."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

from synrl_ray.api.specs import make_specs
from synrl_ray.cli import main
from synrl_ray.envs.registration import foreign_module
from synrl_ray.errors import UserError
from synrl_ray.experiment import Choice
from synrl_ray.kinds.control import kind as control
from synrl_ray.kinds.evaluating import evaluate_folder, export_folder
from synrl_ray.overrides import apply_overrides
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.registry import get_experiment
from synrl_ray.running.progress import ignore
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.seal import sign_policy
from synrl_ray.running.seeds import resume_run
from synrl_ray.running.spec import RunSpec
from synrl_ray.settings.policies import SpikingPolicy
from synrl_ray.tuning.session import resume_study
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.study_folder import StudyFolder
from synrl_ray.tuning.trials import Trial

RESULTS = Path(__file__).parents[3] / "experiments" / "results"
MODULE = "strange_environments"
ENTRY_POINTS = {
    "cartpole-ppo/spiking": ("gymnasium.envs.classic_control.cartpole:CartPoleEnv", 500),
    "maze-rstdp/spiking": ("synrl_ray.envs.maze:MazeEnv", None),
}


@pytest.fixture(params=ENTRY_POINTS)
def folder(request, tmp_path, monkeypatch):
    """A policy of someone else, whose environment is in a module that leaves a trace when it is imported."""
    entry_point, limit = ENTRY_POINTS[request.param]
    (tmp_path / f"{MODULE}.py").write_text(
        "import gymnasium, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'imported')!r}).touch()\n"
        f"gymnasium.register('Strange-v0', entry_point={entry_point!r}, max_episode_steps={limit})\n"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(RESULTS / request.param, tmp_path / "policy")
    for name in ("config.json", "policy.seal.json"):
        (tmp_path / "policy" / name).unlink(missing_ok=True)
    ask_for(tmp_path / "policy", f"{MODULE}:Strange-v0")
    yield tmp_path / "policy"
    sys.modules.pop(MODULE, None)
    gym.registry.pop("Strange-v0", None)


def ask_for(folder, env_id):
    description = json.loads((folder / "policy.json").read_text())
    description["environment"]["id"] = env_id
    (folder / "policy.json").write_text(json.dumps(description))


def was_imported(folder):
    return (folder.parent / "imported").exists()


def evaluate(folder, **options):
    return evaluate_folder(folder, episodes=1, seed=0, **options)


def test_a_strangers_module_is_not_imported(folder):
    with pytest.raises(UserError) as caught:
        evaluate(folder)
    assert str(caught.value) == (
        f"{folder / 'policy.json'} asks to import the module {MODULE!r}, and nothing shows that you made it on this "
        "machine — if you trust whoever made it, add --trust"
    )
    assert not was_imported(folder)


@pytest.mark.parametrize("folder", ["cartpole-ppo/spiking"], indirect=True)
def test_an_export_imports_it_likewise(folder, tmp_path):
    with pytest.raises(UserError, match="asks to import the module"):
        export_folder(folder, tmp_path / "out.nir", num_observations=10)
    assert not was_imported(folder)
    assert export_folder(folder, tmp_path / "out.nir", num_observations=10, trust=True)["nir"]["spikes"] == 1
    assert was_imported(folder)


def test_a_trusted_strangers_module_is_named_once(folder, capsys):
    evaluate(folder, trust=True)
    assert was_imported(folder)
    assert capsys.readouterr().err == f"synrl: imports {MODULE!r}, as {folder / 'policy.json'} asks\n"


def test_the_users_own_policy_needs_no_trust(folder, capsys):
    sign_policy(folder)
    evaluate(folder)
    assert was_imported(folder)
    assert capsys.readouterr().err == f"synrl: imports {MODULE!r}, as {folder / 'policy.json'} asks\n"


def test_a_policy_that_was_changed_is_not_ones_own(folder):
    sign_policy(folder)
    with (folder / "policy.json").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match="nothing shows that you made it"):
        evaluate(folder)
    assert not was_imported(folder)


def test_a_policy_of_another_user_is_not_ones_own(folder, tmp_path, monkeypatch):
    sign_policy(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another home"))
    with pytest.raises(UserError, match="nothing shows that you made it"):
        evaluate(folder)
    assert not was_imported(folder)


def test_the_command_takes_trust(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--episodes", "1"])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not was_imported(folder)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--episodes", "1", "--trust"])
    assert ended.value.code == 0
    assert was_imported(folder)


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "gymnasium:CartPole-v1", "gymnasium.envs.classic_control:CartPole-v1"]
)
def test_known_modules_need_no_trust(folder, env_id, capsys):
    if "maze" in (folder / "policy.json").read_text():
        env_id = "synrl_ray.envs.maze:synrl_ray/Maze-v0"
    ask_for(folder, env_id)
    evaluate(folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("env_id", "module"),
    [
        ("os:Nothing-v0", "os"),
        ("synrl_ray_of_another:Maze-v0", "synrl_ray_of_another"),
        ("gymnasium_robotics:Fetch-v0", "gymnasium_robotics"),
        ("my.gymnasium:CartPole-v1", "my.gymnasium"),
        (".gymnasium:CartPole-v1", ".gymnasium"),
        (":CartPole-v1", ""),
        ("ale_py:ALE/Pong-v5", None),
        ("ALE/Pong-v5", None),
        ("", None),
    ],
)
def test_only_the_whole_name_of_a_package_is_known(env_id, module):
    assert foreign_module(env_id) == module


def test_what_a_wrapper_around_old_gym_imports_is_foreign():
    assert foreign_module("GymV26Environment-v0", {"env_id": "my_package:Mine-v0"}) == "my_package"
    assert foreign_module("GymV26Environment-v0", {"env_id": 3}) is None


def specs(config, *settings):
    return make_specs(
        "cartpole-ppo",
        None,
        seed=None,
        seeds=None,
        num_workers=0,
        stop_steps=None,
        settings=list(settings) or None,
        config=config,
    )


def test_a_module_that_a_file_of_settings_asks_for_is_named(tmp_path, capsys):
    config = tmp_path / "best.json"
    config.write_text(json.dumps({"env": f"{MODULE}:Strange-v0", "lr": 1e-3}))
    specs(config)
    assert capsys.readouterr().err == f"synrl: imports {MODULE!r}, as {config} asks\n"
    specs(config, "env=my_package:Mine-v0")  # the user asks, not the file
    specs(None, f"env={MODULE}:Strange-v0")
    config.write_text(json.dumps({"lr": 1e-3}))
    specs(config)
    assert capsys.readouterr().err == ""


def strange_run():
    experiment = apply_overrides(get_experiment("cartpole-ppo"), [f"env={MODULE}:Strange-v0"])
    return RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0)


def resume(path, **options):
    return resume_run(path, control.KIND, stop_steps=None, address=None, watch=ignore, **options)


def resume_search(path, **options):
    return resume_study(path, address=None, say=print, **options)


def make_run(path):
    RunFolder.create(path, strange_run(), control.KIND.modules([strange_run().experiment]))
    return path / "config.json"


def make_study(path):
    StudyFolder.create(path, Study(run=strange_run(), settings={}, samples=1))
    return path / "study.json"


@pytest.mark.parametrize(("make", "go_on"), [(make_run, resume), (make_study, resume_search)])
@pytest.mark.parametrize("folder", ["cartpole-ppo/spiking"], indirect=True)
def test_a_resumption_imports_it_likewise(folder, tmp_path, make, go_on, capsys, monkeypatch):
    file = make(tmp_path / "run")
    monkeypatch.setattr(control, "KIND", replace(control.KIND, check=stop))
    with pytest.raises(Checked):  # one's own
        go_on(tmp_path / "run")
    assert capsys.readouterr().err == f"synrl: imports {MODULE!r}, as {file} asks\n"
    file.with_name(f"{file.stem}.seal.json").unlink()
    with pytest.raises(UserError, match=f"{file} asks to import the module '{MODULE}', and nothing shows"):
        go_on(tmp_path / "run")
    with pytest.raises(Checked):
        go_on(tmp_path / "run", trust=True)


@pytest.mark.parametrize("folder", ["cartpole-ppo/spiking"], indirect=True)
def test_no_trial_imports_what_its_study_does_not_name(folder, tmp_path, monkeypatch):
    plain = replace(strange_run(), experiment=get_experiment("cartpole-ppo"))
    choice = {"environment.id": Choice(("CartPole-v1", f"{MODULE}:Strange-v0"))}
    searched = replace(plain, experiment=replace(plain.experiment, search_space=choice))
    monkeypatch.setattr(control, "KIND", replace(control.KIND, check=stop))
    own = StudyFolder.create(tmp_path / "own", Study(run=searched, samples=2))
    own.write_trials([Trial(index=0, settings={"environment.id": f"{MODULE}:Strange-v0"})])
    with pytest.raises(Checked):
        resume_search(own.path)
    (own.path / "study.seal.json").unlink()
    with pytest.raises(UserError, match=r"study\.json asks to import the module 'strange_environments'"):
        resume_search(own.path)
    changed = StudyFolder.create(tmp_path / "changed", Study(run=plain, samples=2))
    changed.write_trials([Trial(index=0, settings={"environment.id": f"{MODULE}:Strange-v0"})])
    with pytest.raises(UserError, match=r"trials\.jsonl is damaged \(a trial has the settings environment\.id"):
        resume_search(changed.path)


NETWORK = """
import pathlib
from torch import nn

pathlib.Path(__file__).with_name("imported").touch()


class Net(nn.Linear):
    state_size = 0

    def __init__(self, shape, num_outputs, settings):
        super().__init__(shape[0], num_outputs)

    def forward(self, inputs, state):
        return super().forward(inputs), state
"""


@pytest.fixture
def own_network(tmp_path, monkeypatch):
    """A policy whose network is a class in a module that leaves a trace when it is imported."""
    (tmp_path / f"{MODULE}.py").write_text(NETWORK)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    env = gym.make("CartPole-v1")
    spaces = env.observation_space, env.action_space
    network = ActorCritic(*spaces, SpikingPolicy(network=f"{MODULE}:Net"))
    (tmp_path / "policy").mkdir()
    Policy(network, *spaces).save(tmp_path / "policy", environment={"id": "CartPole-v1", "kwargs": {}})
    (tmp_path / "imported").unlink()
    del sys.modules[MODULE]
    yield tmp_path / "policy"
    sys.modules.pop(MODULE, None)


def test_a_strangers_network_is_not_imported(own_network, tmp_path):
    said = f"{own_network / 'policy.json'} asks to import the module {MODULE!r}, and nothing shows that you made it"
    with pytest.raises(UserError, match=said):
        evaluate(own_network)
    with pytest.raises(UserError, match=said):
        export_folder(own_network, tmp_path / "out.nir", num_observations=10)
    assert not was_imported(own_network)
    evaluate(own_network, trust=True)
    assert was_imported(own_network)


def test_ones_own_network_needs_no_trust(own_network, capsys):
    sign_policy(own_network)
    evaluate(own_network)
    assert was_imported(own_network)
    assert capsys.readouterr().err == f"synrl: imports {MODULE!r}, as {own_network / 'policy.json'} asks\n"


def test_runs_and_files_of_settings_name_the_module_of_a_network(own_network, tmp_path, capsys):
    asked = {"spiking.network": f"{MODULE}:Net"}
    experiment = apply_overrides(get_experiment("cartpole-ppo"), [], asked)
    assert control.KIND.modules([experiment]) == [MODULE]
    config = tmp_path / "best.json"
    config.write_text(json.dumps(asked))
    specs(config)
    assert capsys.readouterr().err == f"synrl: imports {MODULE!r}, as {config} asks\n"
    run = RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0)
    RunFolder.create(tmp_path / "run", run)  # by another, since it is not sealed
    with pytest.raises(UserError, match=f"asks to import the module '{MODULE}', and nothing shows"):
        resume(tmp_path / "run")
    assert not was_imported(own_network)


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("spiking.network", f"{MODULE}:Net"),
        ("environment.kwargs", {"env_id": f"{MODULE}:Strange-v0"}),
        ("environment.id", f"{MODULE}:Strange-v0"),
    ],
)
def test_no_choice_of_a_strangers_study_is_imported(own_network, tmp_path, monkeypatch, path, option):
    plain = get_experiment("cartpole-ppo")
    searched = replace(plain, search_space={path: Choice((option,))})
    run = RunSpec(experiment=searched, policy="spiking", seed=0, num_workers=0)
    monkeypatch.setattr(control, "KIND", replace(control.KIND, check=stop))
    study = StudyFolder.create(tmp_path / "study", Study(run=run, samples=1))
    with pytest.raises(Checked):  # one's own
        resume_search(study.path)
    (study.path / "study.seal.json").unlink()
    with pytest.raises(UserError, match=rf"study\.json asks to import the module '{MODULE}', and nothing shows"):
        resume_search(study.path)
    assert not was_imported(own_network)


class Checked(Exception):
    """The first place that makes the environment was reached."""


def stop(spec):
    raise Checked


@pytest.mark.parametrize("kind", ["control", "evolution", "local"])
def test_a_run_that_has_ended_is_shown_without_an_import(kind, tmp_path, monkeypatch, capsys):
    result = {"control": "cartpole-ppo/spiking", "evolution": "cartpole-hebbian/ann", "local": "maze-rstdp/spiking"}
    (tmp_path / f"{MODULE}.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = shutil.copytree(RESULTS / result[kind] / "seed0", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["environment"]["id"] = f"{MODULE}:Strange-v0"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as ended:
        main(["train", "--resume", str(run)])
    assert not ended.value.code
    assert not was_imported(run)
    assert "Judge again" in capsys.readouterr().out
