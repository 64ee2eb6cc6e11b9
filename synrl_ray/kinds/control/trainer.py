"""Reinforcement learning as a run's task: an RLlib algorithm and a policy that it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from synrl_ray.envs.checked import require_working
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.experiment import A2C, DQN, PPO, Experiment
from synrl_ray.kinds.episodes import combine_seeds, draw_curves, evaluate_run, factory_of, finish_run
from synrl_ray.kinds.rllib_trainer import RLlibTask, build, check_shares, finite
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.task import Measured

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    from synrl_ray.policies.policy import Policy


class ControlTask(RLlibTask):
    """Trains a policy on an environment."""

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.policies.images import notices

        self.spec = spec
        self.experiment = control_experiment(spec)
        self.total = self.experiment.stopping.env_steps
        self.interval = self.experiment.evaluation.interval_steps
        self.algorithm = _build(spec)
        module = self.algorithm.get_module()
        self._notices = notices(module.observation_space, module.network.config)

    @staticmethod
    def check(spec: RunSpec) -> None:
        """Raise :class:`UserError` if the environment cannot be made, the policy cannot serve its spaces, or it fails
        at once."""
        from synrl_ray.policies.q_network import check_q_network
        from synrl_ray.policies.spaces import check_spaces

        experiment = control_experiment(spec)
        environment, settings, network = experiment.environment, experiment.algorithm, experiment.policy(spec.policy)
        env = make_environment(environment.id, environment.kwargs, environment.preprocessing)
        check_spaces(env.observation_space, env.action_space, environment.id, network)
        if isinstance(settings, DQN):
            check_q_network(env.observation_space, env.action_space, network, environment.id)
            if settings.learning_starts > settings.replay_capacity:
                raise UserError(
                    f"learning_starts {settings.learning_starts} is larger than "
                    f"replay_capacity {settings.replay_capacity}",
                    "change one of them",
                )
        env.close()
        require_working(factory_of(environment))
        check_shares(environment, spec.num_workers)
        if isinstance(settings, A2C) and network.has_state:
            length = min(settings.num_steps, network.max_seq_len)
            if settings.num_steps % length:
                raise UserError(
                    f"num_steps {settings.num_steps} is no multiple of max_seq_len {length}", "change one of them"
                )
        if isinstance(settings, PPO) and settings.minibatch_size > settings.train_batch_size:
            raise UserError(
                f"minibatch_size {settings.minibatch_size} is larger than train_batch_size {settings.train_batch_size}",
                "make it smaller",
            )
        if spec.num_learners:
            _check_batch(spec)

    def train_once(self) -> Measured:
        """One iteration; the first one says how observations are read."""
        measured = super().train_once()
        told, self._notices = self._notices, ()
        return replace(measured, notices=(*told, *measured.notices))

    @staticmethod
    def combine(results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
        """Statistics over all seeds' episodes."""
        target = control_experiment(spec).target
        return combine_seeds(results, target.mean_return if target else None)

    @staticmethod
    def draw(folders: Sequence[RunFolder], path: Path) -> None:
        """Return against environment steps."""
        draw_curves(folders, path)

    def evaluate(self) -> dict[str, float]:
        """Greedy episodes, on seeds after those of the final evaluation, so that the two never share one."""
        protocol = self.experiment.evaluation
        outcome = evaluate_run(
            self.policy(), self.spec, episodes=protocol.interim_episodes, seed=protocol.first_seed + protocol.episodes
        )
        return self.evaluation_columns(outcome)

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Whether the greedy return allows training to end."""
        wanted, reached = self.experiment.stopping.mean_return, row.get("evaluation_return_mean")
        return wanted is not None and reached is not None and reached >= wanted

    def policy(self) -> Policy:
        """The policy as it is now."""
        from synrl_ray.policies.policy import Policy

        module = self.algorithm.get_module()
        return Policy(module.network, module.observation_space, module.action_space)

    def export(self, folder: Path) -> None:
        """The policy with the environment that it was trained on."""
        environment = self.experiment.environment
        prepared = environment.preprocessing
        self.policy().save(
            folder,
            experiment=self.experiment.id,
            environment={
                "id": environment.id,
                "kwargs": dict(environment.kwargs),
                "preprocessing": asdict(prepared) if prepared else None,
            },
        )

    def finish(self, folder: RunFolder, position: Position) -> dict[str, Any]:
        """Evaluate by the experiment's protocol."""
        return finish_run(folder, self.spec, self.trained, position)

    def _own_columns(self, result: dict[str, Any]) -> dict[str, float | None]:
        """Losses."""
        losses = result.get("learners", {}).get("default_policy", {})
        return {
            "policy_loss": finite(losses.get("policy_loss")),
            "value_loss": finite(losses.get("vf_loss")),
            "entropy": finite(losses.get("entropy")),
            **{name: finite(losses[key]) for name, key in _OF_Q_LEARNING.items() if key in losses},
            "lr": finite(losses.get("default_optimizer_learning_rate")),
        }


_OF_Q_LEARNING = {"q_loss": "qf_loss", "q_mean": "qf_mean", "td_error": "td_error_mean"}


def control_experiment(spec: RunSpec) -> Experiment:
    """The run's experiment, known to be one of reinforcement learning."""
    return cast(Experiment, spec.experiment)


def _check_batch(spec: RunSpec) -> None:
    try:
        _config(spec)
    except ValueError as error:
        raise UserError(str(error), "choose another --num-learners or batch size") from None


def _build(spec: RunSpec) -> Any:
    return build(_config(spec))


def _config(spec: RunSpec) -> AlgorithmConfig:
    from synrl_ray.algorithms.build import algorithm_config

    scale = {"num_workers": spec.num_workers, "num_learners": spec.num_learners}
    return algorithm_config(control_experiment(spec), spec.policy, seed=spec.seed, **scale)
