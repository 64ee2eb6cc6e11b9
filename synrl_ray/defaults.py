"""An experiment for any environment: what is chosen where no file of an experiment says it, and why.

There is one set of settings for vectors, which states share, and one for images. They were found on other environments
than those that they are judged on; ``docs/environments.md`` names both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    PPO,
    PQN,
    SAC,
    AnnPolicy,
    AtariFrames,
    CarRacingFrames,
    Environment,
    Evaluation,
    Experiment,
    LogUniform,
    SpikingPolicy,
    Stopping,
    Uniform,
)
from synrl_ray.settings.algorithms import ControlAlgorithm, OffPolicy, Reinforce
from synrl_ray.settings.facts import SpaceFacts
from synrl_ray.settings.preprocessing import Preprocessing

ALGORITHMS: dict[str, Callable[..., Any]] = {cls.name: cls for cls in get_args(get_args(ControlAlgorithm)[0])}
"""Name and settings of each gradient algorithm; the first is the default."""
DEFAULT_ALGORITHM = PPO.name
LIMIT = 1_000
"""Environment steps of an episode where the environment sets no limit itself."""
_FEW_NUMBERS = 6
_FEW_STATES = 100
_AS_THEY_ARE = "what is replayed is taken as it is"
_MANY = 100  # episodes
_SHORT = 500  # environment steps
_MANY_ENVS = 32
"""For PQN, whose batches are all the variety that it learns from."""
_RATES = ("lr", "gamma", "gae_lambda", "entropy_coeff")
_ACTIONS = {
    "discrete": "actions to choose from",
    "several": "choices to an action",
    "continuous": "numbers to an action",
}


@dataclass(frozen=True)
class Reason:
    """Why some settings are as they are."""

    paths: tuple[str, ...]
    """Of the settings."""
    why: str


def default_experiment(env_id: str, facts: SpaceFacts, algorithm: str | None = None) -> Experiment:
    """The experiment that is trained on an environment where nobody has described one.

    Args:
        env_id: as ``gymnasium.make`` takes it.
        facts: what is known of the environment.
        algorithm: name of a gradient algorithm, whose own defaults are taken; PPO where not given.

    Raises:
        UserError: for an unknown algorithm.

    Example:
        >>> facts = SpaceFacts(observations="vectors", size=4, have_spread=True, actions="discrete", num_actions=2,
        ...                    time_limit=500)
        >>> default_experiment("CartPole-v1", facts).stopping.env_steps
        100000
    """
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise UserError(f"unknown algorithm {algorithm!r}", f"choose from {', '.join(ALGORITHMS)}")
    make = _for_images if facts.observations == "images" else _for_vectors
    made = make(facts)
    settings: Any = made["algorithm"] if algorithm in (None, DEFAULT_ALGORITHM) else ALGORITHMS[algorithm]()
    steps, rollouts = made["env_steps"], settings.several_learners
    spiking, ann = (_suited(made[kind], settings) for kind in ("spiking", "ann"))
    return Experiment(
        id=re.sub(r"[^\w.-]+", "-", env_id),
        summary=f"{env_id} with {settings.name.upper()}, by the defaults for {facts.observations}",
        environment=Environment(
            id=env_id,
            kwargs=default_kwargs(facts),
            preprocessing=preparation(facts, whole_games=isinstance(settings, Reinforce)),
            normalise_rewards=rollouts,  # they are scaled where batches of rollouts are made
            num_envs=_MANY_ENVS if isinstance(settings, PQN) else made["num_envs"],
        ),
        spiking=spiking,
        ann=ann,
        algorithm=settings,
        stopping=Stopping(env_steps=steps),
        evaluation=_evaluation(facts, steps),
        search_space={
            "algorithm.lr": LogUniform(settings.lr / 5, settings.lr * 5),
            "algorithm.gamma": Uniform(0.95, 0.999),
            "spiking.beta": Uniform(0.5, 0.99),
        },
        facts=facts,
    )


def default_kwargs(facts: SpaceFacts) -> dict[str, Any]:
    """What the environment is made with: a time limit, if it has none and is no game, whose own rules end it."""
    return {} if facts.time_limit or facts.game else {"max_episode_steps": LIMIT}


def preparation(facts: SpaceFacts, *, whole_games: bool = False) -> Preprocessing | None:
    """How the frames of a known game are prepared; a lost life ends an episode, unless these are to be whole games."""
    made: Mapping[str | None, Preprocessing] = {
        "atari": AtariFrames(life_loss_ends_episode=not whole_games),
        "car_racing": CarRacingFrames(action_repeat=8),
    }
    return made.get(facts.game)


def reasons(experiment: Experiment) -> list[Reason]:
    """Why the settings of a :func:`default_experiment` are what they are, a line each."""
    facts = experiment.facts
    assert facts is not None
    images = facts.observations == "images"
    found = [
        Reason(
            tuple(
                f"algorithm.{name}" for name in ("lr", "gamma", "entropy_coeff") if hasattr(experiment.algorithm, name)
            ),
            f"{experiment.algorithm.name}: {facts.num_actions} {_ACTIONS[facts.actions]}",
        ),
        Reason(("stopping.env_steps",), _why_so_long(facts)),
        Reason(
            ("spiking.normalise_observations", "ann.normalise_observations"),
            _AS_THEY_ARE
            if not experiment.algorithm.several_learners
            else "each number in units of its own spread"
            if facts.have_spread
            else "there is no spread to measure",
        ),
        Reason(
            ("environment.normalise_rewards",),
            "rewards of any size look alike to the critic" if experiment.algorithm.several_learners else _AS_THEY_ARE,
        ),
        Reason(
            ("spiking.conv_layers", "spiking.hidden_sizes", "spiking.carry_state")
            if images
            else ("spiking.hidden_sizes", "spiking.steps_per_observation", "spiking.carry_state"),
            "pixels: motion is seen by membranes that live on"
            if images and experiment.algorithm.several_learners
            else "every observation starts from rest",
        ),
        *(
            [Reason(("spiking.share_layers", "spiking.norm", "ann.norm"), "no critic; normalised layers bound values")]
            if isinstance(experiment.algorithm, PQN)
            else []
        ),
        *(
            [Reason(("spiking.critic",), "what has not been met keeps a high value; by a spiking critic it would not")]
            if experiment.spiking.critic == "ann"
            else []
        ),
        Reason(("environment.num_envs",), "one batch holds many episodes' parts"),
        Reason(
            ("evaluation.episodes", "evaluation.interval_steps"),
            "episodes take long" if experiment.evaluation.episodes < _MANY else "episodes are short",
        ),
    ]
    if images:
        found.append(Reason(("spiking.input_gain", "spiking.hidden_gain"), "layers that fire from the start"))
    elif facts.observations == "states":
        found.append(Reason(("spiking.input_gain",), "of all the numbers of a state one is not zero"))
    if default_kwargs(facts):
        found.append(Reason(("environment.kwargs",), "the environment sets no time limit"))
    return found


def _why_so_long(facts: SpaceFacts) -> str:
    if facts.observations == "images":
        return "images take long to tell apart"
    what = "states" if facts.observations == "states" else "numbers"
    return f"{'few' if _is_small(facts) else 'many'} {what}: {facts.size:,}"


def _for_vectors(facts: SpaceFacts) -> dict[str, Any]:
    shared: dict[str, Any] = {"hidden_sizes": (64, 64), "normalise_observations": facts.have_spread}
    # Of a state one number of n is not zero, and its weight is initialised as one of n: too small for a spike.
    gain = {"input_gain": round(facts.size**0.5, 1)} if facts.observations == "states" else {}
    return {
        "algorithm": PPO(
            lr=1e-3,
            train_batch_size=2048,
            minibatch_size=128,
            num_epochs=8,
            entropy_coeff=0.0 if facts.actions == "continuous" else 0.01,
        ),
        "spiking": SpikingPolicy(**shared, **gain, critic="ann"),
        "ann": AnnPolicy(**shared),
        "num_envs": 8,
        "env_steps": 100_000 if _is_small(facts) else 200_000,
    }


def _suited(policy: SpikingPolicy | AnnPolicy, algorithm: Any) -> Any:
    """The policy as the algorithm can train it."""
    if isinstance(algorithm, OffPolicy):
        return _replayed(policy, algorithm)
    return _without_critic(policy) if isinstance(algorithm, PQN) else policy


def _without_critic(policy: SpikingPolicy | AnnPolicy) -> Any:
    """Action values, which normalised layers keep from running away where no target network does."""
    changes: dict[str, Any] = {"share_layers": True, "norm": "layer"}
    if isinstance(policy, SpikingPolicy):
        changes["critic"] = SpikingPolicy.critic
    return replace(policy, **changes)


def _replayed(policy: SpikingPolicy | AnnPolicy, algorithm: OffPolicy) -> Any:
    """What an algorithm can train that learns from a replay: no state is kept there, and nothing is measured."""
    changes: dict[str, Any] = {"normalise_observations": False}
    if isinstance(algorithm, SAC):
        changes |= {"action_distribution": "squashed_gaussian", "state_dependent_std": True, "share_layers": False}
    if isinstance(policy, AnnPolicy):
        return replace(policy, **changes, frame_stack=1)
    changes["critic"] = SpikingPolicy.critic
    if policy.carry_state:
        changes |= {"carry_state": False, "steps_per_observation": SpikingPolicy.steps_per_observation}
    return replace(policy, **changes)


def _is_small(facts: SpaceFacts) -> bool:
    """Whether there is little to tell apart."""
    return facts.size <= (_FEW_STATES if facts.observations == "states" else _FEW_NUMBERS)


def _for_images(facts: SpaceFacts) -> dict[str, Any]:
    shared: dict[str, Any] = {"conv_layers": "small", "hidden_sizes": (256,), "share_layers": True}
    shared["normalise_observations"] = True
    spiking = SpikingPolicy(
        **shared,
        steps_per_observation=1,
        carry_state=True,
        beta=0.5,
        learn_beta=True,
        learn_threshold=True,
        readout_beta=0.0,
        surrogate="atan",
        input_gain=2.0,
        hidden_gain=4.0,
    )
    return {
        "algorithm": PPO(lr=5e-4, train_batch_size=2048, minibatch_size=256, num_epochs=4, entropy_coeff=0.005),
        "spiking": spiking,
        "ann": AnnPolicy(**shared, frame_stack=4),
        "num_envs": 8,
        "env_steps": 1_000_000,
    }


def _evaluation(facts: SpaceFacts, env_steps: int) -> Evaluation:
    """Many episodes where they are short; those of training take a tenth of its steps at most in the usual case."""
    limit = facts.time_limit or LIMIT
    images = facts.observations == "images"
    return Evaluation(
        episodes=_MANY if limit <= _SHORT else 30 if images else 50,
        interval_steps=env_steps // 10,
        interim_episodes=5 if images else 10,
    )
