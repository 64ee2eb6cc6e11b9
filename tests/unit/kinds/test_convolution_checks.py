"""Settings of convolutions are judged when a run or a search is asked for, before Ray or data are."""

from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment
from synrl_ray.kinds.control import trainer as control
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.overrides import apply_overrides
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.registry import get_experiment
from synrl_ray.running import seeds
from synrl_ray.running.spec import RunSpec
from synrl_ray.settings.policies import AnnPolicy
from synrl_ray.tuning import session

LAST = spaces.Box(0, 255, (24, 20, 3), np.uint8)


class Painting(gym.Env):
    """An image with channels last, and nothing to do."""

    observation_space, action_space = LAST, spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(LAST.shape, np.uint8), {}

    def step(self, action):
        return np.zeros(LAST.shape, np.uint8), 0.0, True, False, {}


gym.register("Painting-v0", Painting)


def spec_of(experiment="breakout-a2c", *overrides, policy="spiking", **changes):
    described = replace(apply_overrides(get_experiment(experiment), list(overrides)), **changes)
    return RunSpec(experiment=described, policy=policy, seed=0, num_workers=0)


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise AssertionError("this would have started Ray")

    monkeypatch.setattr(seeds, "ray_session", refuse)
    monkeypatch.setattr(session, "ray_session", refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNRL_RUN_ROOT", raising=False)
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path / "no data"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["train", "breakout-a2c", "--set", "spiking.conv_layers=[[16,8,4],[16,4,2],[16,90,1]]"],
            "convolution 3 (kernel 90) is larger than its input of 9 x 9; ",
        ),
        (
            ["tune", "breakout-a2c", "--set", "spiking.conv_layers=[[16,90,4]]", "--space", "lr=1e-4..1e-3"],
            "convolution 1 (kernel 90) is larger than its input of 84 x 84; ",
        ),
        (["train", "breakout-a2c", "--set", "spiking.hidden_sizes=64,32"], "hidden_sizes=64,32 are 2 layers, and "),
        (["train", "cartpole-ppo", "--set", "spiking.conv_layers=small"], "CartPole-v1 has the observation space Box("),
        (
            ["train", "mnist-binary", "--set", "spiking.architecture=conv", "spiking.channels=8,8,8,8"],
            "convolution 4 (kernel 3) is larger than its input of 2 x 2: the images have 28 x 28 pixels — give spiking",
        ),
        (
            ["train", "mnist-binary", "--set", "spiking.architecture=conv", "spiking.hidden_sizes=64,32"],
            "hidden_sizes=64,32 are 2 layers, and convolutions are followed by one — take spiking.hidden_sizes=32",
        ),
        (
            ["train", "omniglot-maml", "--set", "spiking.channels=8,8"],
            "spiking.channels = 8,8 does not fit — SpikingLearner: channels are those of four blocks, or one number",
        ),
    ],
    ids=lambda given: " ".join(given[:2]) if isinstance(given, list) else "",
)
def test_the_command_names_the_layer_in_a_line_and_leaves_nothing(arguments, line, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith(f"synrl: {line}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def painting(**policy):
    environment = Environment(id="Painting-v0", num_envs=16)
    return spec_of(policy="ann", environment=environment, ann=AnnPolicy(hidden_sizes=(4,), **policy))


def test_a_run_says_once_that_channels_are_last(monkeypatch):
    spec = painting(conv_layers=((4, 4, 2),))
    KIND.check(spec)
    network = ActorCritic(LAST, spaces.Discrete(2), spec.experiment.ann)
    module = SimpleNamespace(network=network, observation_space=LAST, action_space=spaces.Discrete(2))
    result = {"env_runners": {"num_episodes": 0}, "num_env_steps_sampled_lifetime": 80}
    algorithm = SimpleNamespace(get_module=lambda: module, train=lambda: result)
    monkeypatch.setattr(control, "configure", lambda spec: spec)
    monkeypatch.setattr(control, "build", lambda config: algorithm)
    trainer = KIND.start(spec)
    assert trainer.train_once().notices == ("observations [24, 20, 3] are taken as images with channels last",)
    assert trainer.train_once().notices == ()


def test_convolutions_are_held_to_the_pixels_not_to_the_channels():
    with pytest.raises(UserError, match=r"convolution 1 \(kernel 21\) is larger than its input of 24 x 20"):
        KIND.check(painting(conv_layers=((4, 21, 1),)))


def test_spaces_whose_text_has_many_lines_are_named_in_one():
    wide = spaces.Box(np.arange(60, dtype=np.float32), np.arange(1, 61, dtype=np.float32))
    assert "\n" in str(wide)
    policy = AnnPolicy(conv_layers="small", hidden_sizes=(4,))
    for pair, config in (((wide, spaces.Discrete(2)), policy), ((spaces.Sequence(wide), spaces.Discrete(2)), None)):
        with pytest.raises(UserError) as caught:
            check_spaces(*pair, "Wide-v0", config)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
