import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

from synrl_ray.errors import UserError
from synrl_ray.experiment import Evaluation
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.settings.policies import SpikingPolicy

RESULTS = Path(__file__).parents[3] / "experiments" / "results"


@pytest.fixture
def path(tmp_path):
    """A folder with an untrained policy, as published under experiments/results."""
    env = gym.make("CartPole-v1")
    network = ActorCritic(env.observation_space, env.action_space, SpikingPolicy(hidden_sizes=(4,)))
    policy = Policy(network, env.observation_space, env.action_space)
    policy.save(tmp_path, experiment="some-id", environment={"id": "CartPole-v1", "kwargs": {}})
    return tmp_path


def edit_description(path, **changes):
    file = path / "policy.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_evaluation_reports_score_protocol_and_where_from(path):
    result = evaluate_folder(path, episodes=3, seed=7)
    assert (result.experiment, result.policy, result.run) == ("some-id", "spiking", str(path))
    assert (result.figures["episodes"], result.protocol["first_seed"]) == (3, 7)
    assert result.greedy.lengths == result.greedy.returns  # one point for each step
    assert (result.video, result.training, result.target) == (None, (), None)


def test_evaluation_repeats_exactly(path):
    scores = [evaluate_folder(path, episodes=3, seed=7) for _ in range(2)]
    assert scores[0].figures == scores[1].figures
    assert scores[0].intervals == scores[1].intervals


def test_evaluation_leaves_the_folder_as_it_is(path):
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    evaluate_folder(path, episodes=1, seed=0)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def add_config(path, **protocol):
    experiment = replace(get_experiment("cartpole-ppo"), evaluation=Evaluation(**protocol))
    spec = RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0)
    (path / "config.json").write_text(json.dumps(spec.to_json()))
    assert RunFolder.open(path).spec() == spec


def test_protocol_of_the_run_holds_where_nothing_else_is_asked(path):
    add_config(path, episodes=2, first_seed=123)
    result = evaluate_folder(path)
    assert (result.figures["episodes"], result.protocol["first_seed"]) == (2, 123)
    result = evaluate_folder(path, episodes=1, seed=0)
    assert (result.figures["episodes"], result.protocol["first_seed"]) == (1, 0)


def test_folder_without_a_config_takes_the_default_protocol(path):
    result = evaluate_folder(path, episodes=1)
    assert result.protocol["first_seed"] == Evaluation().first_seed


@pytest.mark.parametrize(("episodes", "seed", "option"), [(0, None, "--episodes 0"), (None, -1, "--seed -1")])
def test_options_that_are_too_small_are_named(path, episodes, seed, option):
    with pytest.raises(UserError, match=f"{option} is too small"):
        evaluate_folder(path, episodes=episodes, seed=seed)


@pytest.mark.parametrize(
    "environment", [None, {}, "CartPole-v1", {"id": 3}, {"id": "CartPole-v1", "preprocessing": {"name": "snes"}}]
)
def test_damaged_environment_is_a_user_error(path, environment):
    edit_description(path, environment=environment)
    with pytest.raises(UserError, match=r"policy\.json"):
        evaluate_folder(path, episodes=1, seed=0)


def test_environment_that_does_not_exist_is_named(path):
    edit_description(path, environment={"id": "CartPol-v1", "kwargs": {}})
    with pytest.raises(UserError, match="unknown environment 'CartPol-v1'"):
        evaluate_folder(path, episodes=1, seed=0)


def test_environment_of_other_spaces_is_named(path):
    edit_description(path, environment={"id": "Acrobot-v1", "kwargs": {}})
    with pytest.raises(UserError, match="Acrobot-v1"):
        evaluate_folder(path, episodes=1, seed=0)


def test_damaged_config_is_named(path):
    (path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        evaluate_folder(path, episodes=1, seed=0)


def test_refused_video_format_is_named_before_anything_is_evaluated(path):
    with pytest.raises(UserError, match=r"episode\.txt"):
        evaluate_folder(path, episodes=10_000_000, seed=0, video=path / "episode.txt")


def test_evaluate_command_needs_no_ray(path):
    code = (
        "import sys\n"
        "sys.modules['ray'] = None\n"
        "from synrl_ray.cli import main\n"
        "main(['evaluate', sys.argv[1], '--episodes', '2', '--seed', '0', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["episodes"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"holds no policy\.json"), ("[", r"policy\.json is damaged"), ("[]", r"policy\.json is damaged")],
)
def test_official_runs_of_a_damaged_folder_are_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "policy.json").write_text(content)
    with pytest.raises(UserError, match=message):
        evaluate_folder(tmp_path, official_runs=True)


def test_an_environment_is_not_described_at_any_length(path):
    edit_description(path, environment={"id": "FrozenLake-v1", "kwargs": {"desc": ["F" * 1000] * 900}})
    with pytest.raises(UserError, match=r"policy\.json names no environment"):
        evaluate_folder(path, episodes=1, seed=0)


def test_the_config_of_another_kind_of_run_is_named(path):
    shutil.copytree(RESULTS / "sinusoid-maml" / "ann", path / "learner")
    add_config(path, episodes=2)
    shutil.copy(path / "config.json", path / "learner" / "config.json")
    with pytest.raises(UserError, match=r"config\.json is of another kind of run \(control\)"):
        evaluate_folder(path / "learner", episodes=2)


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors", "config.json"])
def test_a_pipe_is_not_waited_for(path, name):
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(UserError, match=re.escape(name)):
        evaluate_folder(path, episodes=1, seed=0)
