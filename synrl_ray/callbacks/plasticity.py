"""Local learning inside gradient algorithms: plastic weights learn in the env runners and are committed once.

What happens in an iteration: gradients train the learner's other weights, and RLlib sends all weights to the runners.
Then the changes that plastic weights went through in the runners are merged, added to the learner's, and sent too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core import DEFAULT_MODULE_ID

from synrl_ray.errors import UserError
from synrl_ray.plasticity.merging import Deltas, Merge, merge_deltas
from synrl_ray.rl_modules.plastic import Transition, TransitionLearner, commit_deltas
from synrl_ray.sampling.metrics import log_plasticity

_KEPT = "plastic_part"


class PlasticityCallback(RLlibCallback):
    """Lets the plastic weights of a :class:`~synrl_ray.rl_modules.plastic.TransitionLearner` learn.

    For stock RLlib algorithms and this project's::

        PPOConfig().callbacks(PlasticityCallback).rl_module(rl_module_spec=RLModuleSpec(
            module_class=PlasticActorCritic, model_config=asdict(SpikingPolicy(plastic=PlasticLayers()))))

    Raises:
        UserError: when the algorithm is built, for one without env runners, a module without plastic weights, names
            that match none, or a plastic weight that a gradient optimiser would train (and clip) as well.
    """

    merge: Merge = "sum"

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        """Look at the module before anything is trained."""
        if algorithm.env_runner_group is None:
            problem = "plastic weights learn in env runners, and what learns from recorded episodes has none"
            raise UserError(problem, "take PPO, APPO or IMPALA, or ActorCriticModule without the callback")
        module = algorithm.get_module()
        if not (isinstance(module, TransitionLearner) and module.plastic_names):
            raise UserError(
                f"{type(module).__name__} names no plastic weights",
                "take a PlasticActorCritic, or leave the callback out",
            )
        algorithm.learner_group.foreach_learner(
            lambda learner: learner.module[DEFAULT_MODULE_ID].unwrapped().plastic_weights()
        )

    def on_episode_step(self, *, episode: Any, env_runner: Any, rl_module: Any, env_index: int, **kwargs: Any) -> None:
        """Learn from a step of RLlib's own env runner."""
        learner, observation = learner_of(rl_module), episode.get_observations(-2)
        network = getattr(learner, "network", None)
        space = getattr(network, "unflattened", None)  # of several parts, which RLlib leaves as they are
        learner.learn_from(
            Transition(
                rows=np.array([env_index]),
                observations=np.asarray(observation if space is None else space.flatten(observation))[None],
                starts=np.array([episode.t == 1]),
                actions=np.asarray(episode.get_actions(-1))[None],
                rewards=np.array([episode.get_rewards(-1)], np.float64),
                valid=np.ones(1, np.bool_),
            )
        )

    def on_batched_step(self, *, env_runner: Any, transition: Transition, **kwargs: Any) -> None:
        """Learn from a step of the batched env runner, which calls this."""
        learner_of(env_runner.module).learn_from(transition)

    def on_sample_end(self, *, env_runner: Any, metrics_logger: Any, samples: Any, **kwargs: Any) -> None:
        """Keep what has changed until it is collected."""
        module = learner_of(env_runner.module)
        parts = [*filter(None, [_collect(env_runner)]), (module.take_delta(), _num_steps(samples))]
        setattr(env_runner, _KEPT, (merge_deltas(parts, "sum"), sum(steps for _, steps in parts)))
        log_plasticity(metrics_logger, module.plastic_metrics())

    def on_train_result(self, *, algorithm: Any, **kwargs: Any) -> None:
        """Merge, commit, synchronise."""
        group = algorithm.env_runner_group
        parts: list[tuple[Deltas, int]] = [
            part for part in group.foreach_env_runner(_collect, local_env_runner=True) if part
        ]
        if parts:
            commit_deltas(algorithm, parts, self.merge)


def learner_of(module: Any) -> TransitionLearner:
    """The module that learns, out of RLlib's wrappers."""
    inner = module[DEFAULT_MODULE_ID] if DEFAULT_MODULE_ID in getattr(module, "_rl_modules", {}) else module
    learner: TransitionLearner = inner.unwrapped()
    return learner


def _collect(env_runner: Any) -> tuple[Deltas, int] | None:
    part: tuple[Deltas, int] | None = getattr(env_runner, _KEPT, None)
    setattr(env_runner, _KEPT, None)
    return part


def _num_steps(samples: Any) -> int:
    return samples.num_steps if hasattr(samples, "num_steps") else sum(len(episode) for episode in samples)
