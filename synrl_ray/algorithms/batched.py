"""What algorithms on the batched env runners share: deaths and failures are borne, a checkpoint starts new episodes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Self

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

from synrl_ray.interrupt import breakable
from synrl_ray.rl_modules.pushing import push_weights
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.faults import Faults, call_runners, require_runners
from synrl_ray.sampling.vector import PREPROCESSING
from synrl_ray.settings.environment import Environment

_FAULTS = "faults"


class BatchedConfig(AlgorithmConfig):
    """The configuration of an algorithm on :class:`~synrl_ray.sampling.batched.BatchedEnvRunner`.

    Attributes:
        environment_settings: what an experiment says of its environment beside RLlib's ``environment()``: how rewards
            are scaled, and how many failures are borne.
        asynchronous: whether env runners go on while a learner learns.
    """

    asynchronous = False
    environment_settings = Environment(id="")

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or BatchedAlgorithm)
        self.exploration_config: dict[str, Any] = {}
        self.env_runner_cls = BatchedEnvRunner
        # Our env runners have no connectors. RLlib would ask each for theirs after every iteration, and wait: for those
        # that sample while others learn, and for one that cannot be reached.
        self._dont_auto_sync_env_runner_states = True
        self.rollout_fragment_length = "auto"

    def on(self, environment: Environment) -> Self:
        """Train on this environment."""
        prepared = {PREPROCESSING: environment.preprocessing} if environment.preprocessing else {}
        self.environment(environment.id, env_config={**environment.kwargs, **prepared})
        self.environment_settings = environment
        return self

    @property
    def max_failure_share(self) -> float:
        """Failures of environments in each environment step that are borne."""
        return self.environment_settings.max_failure_share

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return {}


class BatchedAlgorithm(Algorithm):
    """An RLlib algorithm whose env runners are :class:`~synrl_ray.sampling.batched.BatchedEnvRunner`."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """What every configuration of such an algorithm is: RLlib would turn another one into it, learner and all."""
        return BatchedConfig()

    def setup(self, config: Any) -> None:
        """RLlib's constructor."""
        super().setup(config)
        waits = not self.config.asynchronous
        self.faults = Faults(str(self.config.env), self.config.max_failure_share, waits=waits)
        require_runners(self.env_runner_group)

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint, with new episodes in every env runner (RLlib restores the local one only)."""
        super().restore_from_path(path, *args, **kwargs)
        steps = self._steps()
        push_weights(self.env_runner_group, self.learner_group)
        call_runners(self.env_runner_group, lambda runner: runner.reseed(steps), local=True)

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Give runners that Ray has restarted the present weights and new episodes; RLlib calls this."""
        restarted = self.faults.find_restarted(env_runner_group)
        if restarted:
            steps = self._steps()
            push_weights(env_runner_group, self.learner_group, indices=restarted)
            call_runners(env_runner_group, lambda runner: runner.reseed(steps), local=False, indices=restarted)
        return restarted

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {**super().get_state(*args, **kwargs), _FAULTS: self.faults.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`."""
        super().set_state(state)
        if _FAULTS in state:
            self.faults.set_state(state[_FAULTS])

    def _sample(self) -> list[Any]:
        """What every runner collected; counts failures and logs metrics.

        Raises:
            UserError: if all runners died, or too many environments failed.
            KeyboardInterrupt: after Ctrl-C where whole episodes are collected, which may last; nothing has been learned
                from them then.
        """
        may_last = self.config.batch_mode == "complete_episodes"
        try:
            with breakable() if may_last else nullcontext():
                results = self.faults.sample(self.env_runner_group)
        except KeyboardInterrupt:
            self.env_runner_group._worker_manager.clear()  # they go on, and asked to stop they would be waited for
            raise
        self.metrics.aggregate([metrics for _, metrics, _ in results], key=ENV_RUNNER_RESULTS)
        self._count_failures([failures for _, _, failures in results])
        return [sample for sample, _, _ in results]

    def _count_failures(self, failures: Sequence[tuple[int, str]]) -> None:
        """Count what runners say of their environments, and log how much has gone wrong in the run."""
        self.faults.count_failures(failures, self._steps())
        for name, count in self.faults.get_state().items():
            if count:
                self.metrics.log_value(f"num_{name}", count, window=1)

    def _steps(self) -> int:
        """Environment steps of the run so far."""
        return int(self.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))
