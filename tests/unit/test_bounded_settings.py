"""Settings that multiply time or memory have an upper bound, and files of settings are read up to one."""

import os

import pytest

from synrl_ray.errors import UserError
from synrl_ray.overrides import apply_overrides, read_settings
from synrl_ray.registry import get_experiment

HUGE = 10**9
BOUNDED = {
    "cartpole-ppo": [
        "spiking.steps_per_observation",
        "spiking.frame_stack",
        "spiking.max_seq_len",
        "ann.frame_stack",
        "evaluation.episodes",
        "evaluation.interim_episodes",
        "environment.num_envs",
    ],
    "breakout-a2c": ["environment.preprocessing.frame_skip", "environment.preprocessing.noop_max"],
    "car-racing-ppo": ["environment.preprocessing.action_repeat"],
    "mnist-binary": ["spiking.steps_per_observation"],
    "maze-rstdp": ["algorithm.steps_per_observation", "algorithm.neurons_per_action", "evaluation.episodes"],
    "taxi-stdp-q": ["algorithm.steps_per_observation"],
    "sinusoid-maml": [
        "tasks.shots",
        "tasks.queries",
        "spiking.steps_per_sample",
        "spiking.population",
        "algorithm.maml.inner_steps",
        "evaluation.tasks",
        "evaluation.inner_steps",
        "evaluation.interim_tasks",
    ],
    "omniglot-maml": ["tasks.ways", "tasks.shots", "tasks.queries", "ann.channels"],
    "gridworld-maml": [
        "tasks.rows",
        "tasks.columns",
        "tasks.horizon",
        "algorithm.maml.episodes",
        "algorithm.maml.inner_steps",
    ],
}


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in BOUNDED.items() for path in paths])
def test_a_huge_value_is_refused_in_a_line(name, path):
    with pytest.raises(UserError, match=f"setting '{path}' cannot be '{HUGE}' — must be <= "):
        apply_overrides(get_experiment(name), [f"{path}={HUGE}"])


@pytest.mark.parametrize(
    ("name", "path"), [("cartpole-ppo", "spiking.hidden_sizes"), ("sinusoid-maml", "ann.hidden_sizes")]
)
def test_so_are_very_many_layers(name, path):
    with pytest.raises(UserError, match=f"setting '{path}' cannot be .* at most 64 items"):
        apply_overrides(get_experiment(name), [], {path: [1] * 65})


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "large", "deep"])
def test_a_file_of_settings_is_read_up_to_a_bound_and_never_waited_for(tmp_path, kind):
    path = tmp_path / "settings"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_text("[" * 100_000 if kind == "deep" else f'{{"lr": {"1" * 2**20}}}')
    with pytest.raises(UserError) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
