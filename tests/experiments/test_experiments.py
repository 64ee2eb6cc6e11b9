"""Every registered experiment builds."""

import json
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from synrl_ray.envs.make import make_environment
from synrl_ray.experiment import PPO, Choice, Experiment
from synrl_ray.overrides import apply_overrides, experiment_from_json, experiment_to_json
from synrl_ray.registry import all_experiments
from synrl_ray.settings.paths import setting_paths
from synrl_ray.settings.policy_kinds import TWINS

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.py"))
EXPERIMENTS = all_experiments()
CONTROL = {name: experiment for name, experiment in EXPERIMENTS.items() if isinstance(experiment, Experiment)}
every_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
every_control_experiment = pytest.mark.parametrize("experiment", CONTROL.values(), ids=CONTROL)
both_policies = pytest.mark.parametrize("kind", ["spiking", "ann"])


def test_every_file_is_a_registered_experiment():
    assert len(FILES) == len(EXPERIMENTS) > 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_short_and_named_after_its_experiment(path):
    assert len(path.read_text().splitlines()) <= 80
    assert path.stem.replace("_", "-") in EXPERIMENTS


def test_reading_every_file_imports_neither_torch_nor_ray():
    code = (
        "import sys\n"
        "from synrl_ray.registry import all_experiments\n"
        "print(len(all_experiments()), sorted({'torch', 'ray', 'gymnasium', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == f"{len(EXPERIMENTS)} []", done.stderr


@every_control_experiment
@both_policies
def test_policy_builds_on_the_environment_and_acts(experiment, kind):
    from synrl_ray.policies.actor_critic import ActorCritic
    from synrl_ray.policies.policy import Policy
    from synrl_ray.policies.spaces import check_spaces

    environment, config = experiment.environment, experiment.policy(kind)
    env = make_environment(environment.id, environment.kwargs, environment.preprocessing)
    check_spaces(env.observation_space, env.action_space, environment.id, config)
    assert config.kind == kind
    policy = Policy(
        ActorCritic(env.observation_space, env.action_space, config), env.observation_space, env.action_space
    )
    observation, _ = env.reset(seed=0)
    action, _ = policy.act(observation)
    assert env.action_space.contains(action)
    _, reward, *_ = env.step(action)
    assert np.isfinite(reward)
    env.close()


@every_experiment
def test_twins_have_the_same_layers(experiment):
    if experiment.policies != TWINS:
        return
    assert experiment.spiking.hidden_sizes == experiment.ann.hidden_sizes
    for name in ("share_layers", "architecture", "channels", "conv_layers"):
        assert getattr(experiment.spiking, name, None) == getattr(experiment.ann, name, None)


@every_experiment
def test_experiment_survives_json(experiment):
    assert experiment_from_json(experiment_to_json(experiment)) == experiment


@every_experiment
def test_values_of_the_file_are_themselves_valid_overrides(experiment):
    def text(value):
        if isinstance(value, tuple) and isinstance(value[0], tuple):
            return json.dumps(value)
        return ",".join(map(str, value)) if isinstance(value, tuple) else {None: "null"}.get(value, str(value))

    found = {path: reduce(getattr, path.split("."), experiment) for path in setting_paths(experiment)}
    values = {path: value for path, value in found.items() if path != "held_out" and not isinstance(value, dict)}
    assert apply_overrides(experiment, [f"{path}={text(value)}" for path, value in values.items()]) == experiment


@every_experiment
def test_search_space_names_settings_and_valid_values(experiment):
    assert set(experiment.search_space) <= set(setting_paths(experiment))
    for path, span in experiment.search_space.items():
        ends = span.options if isinstance(span, Choice) else (span.low, span.high)
        assert len(set(ends)) == len(ends) > 0
        for value in ends:
            changed = apply_overrides(experiment, [f"{path}={str(value).strip('()')}"])
            assert reduce(getattr, path.split("."), changed) == value
        if not isinstance(span, Choice):
            assert span.low < span.high
            assert span.kind == "uniform" or span.low > 0


@every_control_experiment
def test_minibatches_fit_into_the_train_batch_and_seeds_stay_apart(experiment):
    if isinstance(experiment.algorithm, PPO):
        assert experiment.algorithm.minibatch_size <= experiment.algorithm.train_batch_size
    assert experiment.evaluation.first_seed >= 2 * experiment.evaluation.interim_episodes


@every_experiment
def test_target_has_a_source(experiment):
    assert experiment.target is not None
    assert len(experiment.target.source) > 10
