"""``--env``: what is chosen for an environment without an experiment, how it is shown, replaced and repeated."""

import json
import re
import sys
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray import UserError, make_experiment, train
from synrl_ray.api import training
from synrl_ray.api.any_environment import chosen_block
from synrl_ray.api.specs import make_specs
from synrl_ray.cli import main
from synrl_ray.cluster import submit
from synrl_ray.defaults import ALGORITHMS, reasons
from synrl_ray.experiment import A2C, DQN, PPO, AtariFrames, CarRacingFrames
from synrl_ray.kinds.control.checking import check
from synrl_ray.overrides import resolve_setting
from synrl_ray.policies.actor_critic import make_body
from synrl_ray.running.again import train_words
from synrl_ray.running.progress import Progress
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning.space import search_space


class OwnEnv(gym.Env):
    """Observations and actions of any spaces, and no time limit."""

    def __init__(self, observation_space, action_space=None):
        self.observation_space, self.action_space = observation_space, action_space or spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def own(monkeypatch):
    """Registers an environment of these spaces; its id."""

    def register(observation_space, action_space=None):
        given = {"observation_space": observation_space, "action_space": action_space}
        monkeypatch.setitem(
            gym.registry, "Own-v0", gym.envs.registration.EnvSpec("Own-v0", entry_point=OwnEnv, kwargs=given)
        )
        return "Own-v0"

    return register


@pytest.mark.parametrize(
    ("env", "facts"),
    [
        ("CartPole-v1", ("vectors", 4, True, "discrete", 2, 500, None)),
        ("Pendulum-v1", ("vectors", 3, True, "continuous", 1, 200, None)),
        ("CliffWalking-v1", ("states", 48, False, "discrete", 4, None, None)),
        ("synrl_ray/Shower-v0", ("vectors", 2, True, "discrete", 3, None, None)),
        ("CarRacing-v3", ("images", 84 * 84, True, "discrete", 15, 1000, "car_racing")),
        ("ALE/Pong-v5", ("images", 84 * 84, True, "discrete", 6, None, "atari")),
        ("ale_py:ALE/Pong-v5", ("images", 84 * 84, True, "discrete", 6, None, "atari")),
    ],
)
def test_facts_are_those_of_the_environment(env, facts):
    found = make_experiment(env=env).facts
    names = ("observations", "size", "have_spread", "actions", "num_actions", "time_limit", "game")
    assert tuple(getattr(found, name) for name in names) == facts


def test_vectors_have_a_critic_without_spikes_where_the_algorithm_has_one():
    chosen = {name: make_experiment(env="Pendulum-v1", settings=[f"algorithm={name}"]) for name in ("ppo", "sac")}
    assert [experiment.spiking.critic for experiment in chosen.values()] == ["ann", "spiking"]
    told = {name: [r.paths for r in reasons(experiment)] for name, experiment in chosen.items()}
    assert ("spiking.critic",) in told["ppo"]
    assert ("spiking.critic",) not in told["sac"]
    assert make_experiment(env="CarRacing-v3").spiking.share_layers, "and so the critic's are the actor's"


def test_the_kind_of_observation_chooses_network_normalisation_and_budget():
    cartpole, walker, cliff = (make_experiment(env=e) for e in ("CartPole-v1", "BipedalWalker-v3", "CliffWalking-v1"))
    assert cartpole.spiking.conv_layers is None
    assert cartpole.stopping.env_steps < walker.stopping.env_steps
    for experiment in (cartpole, walker, cliff):
        assert isinstance(experiment.algorithm, PPO)
        assert experiment.environment.normalise_rewards
        for policy in (experiment.spiking, experiment.ann):
            assert policy.normalise_observations == (experiment is not cliff)
    assert cartpole.environment.kwargs == walker.environment.kwargs == {}
    assert cliff.environment.kwargs == {"max_episode_steps": 1000}
    car, game = make_experiment(env="CarRacing-v3"), make_experiment(env="ALE/Pong-v5")
    assert isinstance(car.environment.preprocessing, CarRacingFrames)
    assert isinstance(game.environment.preprocessing, AtariFrames)
    assert game.environment.kwargs == {}  # its vector form is taken without arguments only
    for experiment in (car, game):
        assert experiment.spiking.conv_layers is not None
        assert experiment.spiking.carry_state
        assert experiment.stopping.env_steps > walker.stopping.env_steps


@pytest.mark.parametrize(
    ("space", "observations", "have_spread"),
    [
        (spaces.Box(-1, 1, (5,), np.float32), "vectors", True),
        (spaces.Box(0, 255, (5,), np.uint8), "vectors", False),
        (spaces.Box(-1, 1, (2, 3), np.float32), "vectors", False),
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), "images", True),
        (spaces.Box(0, 1, (1, 84, 84), np.float32), "images", True),
        (spaces.Box(0, 255, (5, 5, 3), np.uint8), "vectors", False),
        (spaces.Discrete(7, start=3), "states", False),
    ],
)
def test_an_environment_of_ones_own_is_served(own, space, observations, have_spread):
    env = own(space)
    experiment = make_experiment(env=env)
    assert (experiment.facts.observations, experiment.facts.have_spread) == (observations, have_spread)
    for policy in experiment.policies:
        check(RunSpec(experiment=experiment, policy=policy, seed=0, num_workers=0))


@pytest.mark.parametrize(
    ("space", "found"),
    [
        (spaces.Discrete(4), ("discrete", 4)),
        (spaces.MultiDiscrete([3, 2, 5]), ("several", 3)),
        (spaces.MultiBinary(6), ("several", 6)),
        (spaces.Box(-1, 1, (2,), np.float32), ("continuous", 2)),
    ],
)
def test_actions_of_every_kind_are_counted(own, space, found):
    facts = make_experiment(env=own(spaces.Box(-1, 1, (5,), np.float32), space)).facts
    assert (facts.actions, facts.num_actions) == found


def test_observations_of_several_parts_are_one_vector():
    facts = make_experiment(env="Blackjack-v1").facts
    assert (facts.observations, facts.size) == ("vectors", 32 + 11 + 2)


@pytest.mark.parametrize(("env", "size"), [("BipedalWalker-v3", 24), ("CliffWalking-v1", 48), ("Taxi-v3", 500)])
def test_every_layer_fires_at_the_start(env, size):
    experiment = make_experiment(env=env)
    torch.manual_seed(0)
    seen = torch.randn(1, 200, size) if env == "BipedalWalker-v3" else torch.eye(size).unsqueeze(0)
    network = make_body(experiment.spiking, (size,), 4)
    rates = []
    for neurons in network.neurons:
        neurons.register_forward_hook(lambda layer, inputs, outputs: rates.append(float(outputs[0].detach().mean())))
    network(seen)
    assert len(rates) == 2
    assert all(0.01 < rate < 0.5 for rate in rates)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "CliffWalking-v1", "ALE/Pong-v5"])
def test_all_that_is_shown_can_be_set(env):
    experiment = make_experiment(env=env)
    head, *lines = chosen_block(experiment).splitlines()
    assert head.startswith(f"{env}: chosen by the defaults for {experiment.facts.observations}")
    assert len(lines) == len(reasons(experiment))
    names = [line.partition("  # ")[0] for line in lines]
    assignments = re.findall(r"(\S+)=(\{.*\}|\S+)", " ".join(names))
    assert ("algorithm", "ppo") in assignments
    for name, _ in assignments:
        assert name == "algorithm" or resolve_setting(experiment, name)
    texts = [f"{name}={value}" for name, value in assignments]
    assert make_experiment(env=env, settings=texts) == make_experiment(env=env, settings=[*texts[::-1]])
    assert make_experiment(env=env, settings=texts).algorithm == experiment.algorithm
    assert all(" # " in line and not line.endswith("# ") for line in lines)


def test_what_is_set_by_hand_is_shown_as_it_is():
    block = chosen_block(make_experiment(env="CartPole-v1", settings=["lr=0.25", "env_steps=7000"]))
    assert block.endswith("# set by hand")
    chosen, by_hand = "\n".join(block.splitlines()[:-1]), block.splitlines()[-1]
    assert by_hand.split()[:2] == ["lr=0.25", "env_steps=7000"]
    assert "lr=" not in chosen
    assert "env_steps=" not in chosen
    assert "gamma=0.99" in chosen


def test_any_gradient_algorithm_can_be_chosen():
    for name, settings in ALGORITHMS.items():
        made = make_experiment(env="CartPole-v1", settings=[f"algorithm={name}"])
        assert type(made.algorithm) is settings
    made = make_experiment(env="CartPole-v1", settings={"algorithm": "a2c", "num_steps": 7})
    assert made.algorithm == A2C(num_steps=7)
    dqn = make_experiment(env="CartPole-v1", settings=["algorithm=dqn"])
    assert isinstance(dqn.algorithm, DQN)
    assert not dqn.environment.normalise_rewards
    assert not dqn.spiking.normalise_observations


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "CliffWalking-v1", "ALE/Pong-v5", "CarRacing-v3"])
def test_every_algorithm_can_train_what_it_is_given_by_default(env, algorithm):
    made = make_experiment(env=env, settings=[f"algorithm={algorithm}"])
    of_boxes = made.facts.actions == "continuous"
    for policy in made.policies:
        spec = RunSpec(experiment=made, policy=policy, seed=0, num_workers=0)
        if {"dqn": of_boxes, "pqn": of_boxes, "sac": not of_boxes}.get(algorithm):
            with pytest.raises(UserError, match="has the action space"):
                check(spec)
        else:
            check(spec)
    told = chosen_block(made)
    replayed = algorithm in ("dqn", "sac")
    assert ("what is replayed is taken as it is" in told) == replayed
    assert ("carry_state=true" in told) == (made.facts.observations == "images" and not replayed)


@pytest.mark.parametrize(
    ("env", "coefficient"), [("CartPole-v1", 0.01), ("CliffWalking-v1", 0.01), ("Pendulum-v1", 0.0)]
)
def test_choices_are_kept_open_and_forces_are_not(env, coefficient):
    assert make_experiment(env=env).algorithm.entropy_coeff == coefficient


def test_a_time_limit_that_is_set_by_hand_is_the_one_that_counts():
    for limit in (-1, 70):
        made = make_experiment(env="CliffWalking-v1", settings=[f'kwargs={{"max_episode_steps": {limit}}}'])
        assert made.environment.kwargs == {"max_episode_steps": limit}


@pytest.mark.parametrize("named", [{"experiment": "cartpole-ppo"}, {"env": "CartPole-v1"}])
def test_a_file_of_settings_and_settings_by_hand_are_judged_together(tmp_path, named):
    (tmp_path / "settings.json").write_text('{"spiking.kappa": 0.1}')
    made = make_experiment(**named, settings=["spiking.neuron=adaptive"], config=tmp_path / "settings.json")
    assert (made.spiking.neuron, made.spiking.kappa) == ("adaptive", 0.1)


def test_arguments_of_the_environment_come_before_what_follows_from_its_spaces():
    made = make_experiment(env="LunarLander-v3", settings=['kwargs={"continuous": true}'])
    assert made.facts.actions == "continuous"
    assert made.environment.kwargs == {"continuous": True}
    limited = make_experiment(env="CliffWalking-v1", settings={"environment.kwargs": {"max_episode_steps": 30}})
    assert limited.facts.time_limit == 30
    assert limited.environment.kwargs == {"max_episode_steps": 30}
    both = make_experiment(env="CliffWalking-v1", settings=['kwargs={"is_slippery": true}'])
    assert both.environment.kwargs == {"is_slippery": True, "max_episode_steps": 1000}
    car = make_experiment(env="CarRacing-v3", settings=["preprocessing.actions=continuous"])
    assert (car.facts.actions, car.environment.preprocessing.actions) == ("continuous", "continuous")


@pytest.mark.parametrize(
    ("env", "settings", "words"),
    [
        ("CartPole-v1", [], []),
        ("CartPole-v1", ["lr=0.25"], ["--set", "lr=0.25"]),
        ("CliffWalking-v1", ["algorithm=a2c", "num_steps=7"], ["--set", "algorithm=a2c", "num_steps=7"]),
        ("FrozenLake-v1", ['kwargs={"map_name":"8x8"}'], ["--set", 'kwargs={"map_name": "8x8"}']),
        ("CarRacing-v3", ["action_repeat=3"], ["--set", "action_repeat=3"]),
    ],
)
def test_the_command_of_a_run_makes_the_same_experiment(env, settings, words):
    [spec] = make_specs(None, env=env, settings=settings or None)
    found = train_words(spec)
    assert found == ["train", "--env", env, *words]
    again = make_experiment(env=found[2], settings=found[4:])
    assert again == spec.experiment
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_command_of_a_run_is_found_without_its_environment(own, monkeypatch):
    [spec] = make_specs(None, env=own(spaces.Box(-1, 1, (5,), np.float32)))
    monkeypatch.delitem(gym.registry, "Own-v0")
    assert train_words(spec, seeds=3) == ["train", "--env", "Own-v0", "--seeds", "3"]


def test_names_of_folders_are_plain(tmp_path, monkeypatch):
    (tmp_path / "plain_module.py").write_text(
        "import gymnasium as gym\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gym.register('Plain-v0', entry_point=CartPoleEnv, max_episode_steps=9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = make_experiment(env="plain_module:Plain-v0")
    monkeypatch.delitem(gym.registry, "Plain-v0")
    monkeypatch.delitem(sys.modules, "plain_module")
    assert made.id == "plain_module-Plain-v0"
    assert made.environment.id == "plain_module:Plain-v0"
    assert make_experiment(env="synrl_ray/Shower-v0").id == "synrl_ray-Shower-v0"


@pytest.mark.parametrize("env", ["CartPole-v1", "CarRacing-v3"])
def test_there_is_something_to_search(env):
    experiment = make_experiment(env=env)
    assert set(search_space(experiment, "ann")) < set(search_space(experiment, "spiking"))
    made = make_experiment(env=env, settings=["algorithm=a2c"])
    assert search_space(made, "spiking")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train --env CartPol-v1", "unknown environment 'CartPol-v1' — did you mean CartPole-v1"),
        ("train --env no_module_here:X-v0", "environment 'no_module_here:X-v0' cannot be made (No module named"),
        ('train --env CartPole-v1 --set kwargs={"mars":1}', "environment 'CartPole-v1' cannot be made"),
        ("train --env Own-v0", "Own-v0 has the observation space Text("),
        ("train cartpole-ppo --env CartPole-v1", "--env does not go with the experiment 'cartpole-ppo'"),
        ("tune cartpole-ppo --env CartPole-v1", "--env does not go with the experiment 'cartpole-ppo'"),
        ("train --env CartPole-v1 --set env=Acrobot-v1", "--env does not go with the setting env"),
        ("train --env CartPole-v1 --set environment.id=X-v0", "--env does not go with the setting environment.id"),
        ("train --env CartPole-v1 --set algorithm=sarsa", "unknown algorithm 'sarsa' — choose from ppo, a2c"),
        ("train --env CartPole-v1 --set lrr=1", "unknown setting 'lrr' — did you mean lr?"),
        ("train --env CartPole-v1 --set num_steps=1", "unknown setting 'num_steps'"),
        ("train --env CartPole-v1 --set lr", "--set 'lr' is not key=value"),
        ("train --env CartPole-v1 --policy tabular", "CartPole-v1 has no tabular policy"),
        ("train --env Pendulum-v1 --set algorithm=dqn", "Pendulum-v1 has the action space Box("),
        ("train --env Pendulum-v1 --set algorithm=pqn", "Pendulum-v1 has the action space Box("),
        ("train --env", "--env"),
        ("train --resume nowhere --env CartPole-v1", "--resume does not go with --env"),
        ("tune --resume nowhere --env CartPole-v1", "--resume does not go with --env"),
    ],
)
def test_bad_input_is_answered_in_one_line(own, capsys, tmp_path, monkeypatch, arguments, expected):
    own(spaces.Text(3))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"synrl: {expected}") or (expected == "--env" and expected in err)
    assert not list(tmp_path.iterdir())


def test_what_was_chosen_is_shown_once_a_run_begins(monkeypatch, capsys, tmp_path):
    shown_before, seen = [], []

    def train_seeds(specs, folders, kind, *, watch, **options):
        shown_before.append(capsys.readouterr().err)
        for phase in ("starting", "training"):
            watch(Progress(label="spiking seed 0", phase=phase))

    monkeypatch.setattr(training, "train_seeds", train_seeds)
    monkeypatch.chdir(tmp_path)
    train(env="CartPole-v1", watch=lambda progress: seen.append(progress.phase))
    assert (shown_before, seen) == ([""], ["starting", "training"])
    assert capsys.readouterr().err == chosen_block(make_experiment(env="CartPole-v1")) + "\n"
    train("cartpole-ppo", watch=seen.append)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("before", [[], ["--env", "NAME=1"]])
def test_a_job_trains_on_an_environment(monkeypatch, before):
    jobs = []

    def submit_job(arguments, **options):
        jobs.append((arguments, options["env_vars"]))
        return SimpleNamespace(exit_status=0)

    monkeypatch.setattr(submit, "submit_job", submit_job)
    words = ["train", "--env", "CartPole-v1", "--set", "lr=0.1"]
    with pytest.raises(SystemExit) as ended:
        main(["submit", *before, "--", *words])
    assert ended.value.code in (0, None)
    assert jobs == [(words, {"NAME": "1"} if before else {})]


def test_nothing_is_named_in_python():
    with pytest.raises(UserError, match="no experiment is named — name one, or an environment as env"):
        make_experiment()
    with pytest.raises(UserError, match="setting 'algorithm' cannot be 3"):
        make_experiment(env="CartPole-v1", settings={"algorithm": 3})


def test_a_module_that_a_file_of_settings_asks_for_is_named_before_it_is_imported(tmp_path, capsys):
    (tmp_path / "best.json").write_text(json.dumps({"environment.kwargs": {"env_id": "no_module_here:X-v0"}}))
    with pytest.raises(UserError, match="cannot be made"):
        make_experiment(env="GymV26Environment-v0", config=tmp_path / "best.json")
    assert capsys.readouterr().err == f"synrl: imports 'no_module_here', as {tmp_path / 'best.json'} asks\n"


def test_the_module_of_a_network_that_a_file_asks_for_is_named(tmp_path, capsys):
    (tmp_path / "best.json").write_text(json.dumps({"spiking.network": "my_nets:MyNet", "lr": 1e-3}))
    made = make_experiment(env="CartPole-v1", config=tmp_path / "best.json")
    assert made.spiking.network == "my_nets:MyNet"
    assert capsys.readouterr().err == f"synrl: imports 'my_nets', as {tmp_path / 'best.json'} asks\n"
    make_experiment(env="CartPole-v1", settings={"spiking.network": "my_nets:MyNet"})
    assert capsys.readouterr().err == ""
