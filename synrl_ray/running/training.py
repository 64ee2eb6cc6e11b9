"""Train one run to its end: iterate, evaluate, checkpoint, write the folder."""

from __future__ import annotations

import logging
import math
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.running.interrupt import StopRequest
from synrl_ray.running.progress import Progress, Watcher, ignore
from synrl_ray.running.result import evaluate_run, finish_run
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from ray.rllib.algorithms import Algorithm

    from synrl_ray.policies.policy import Policy


class Interrupted(Exception):
    """The user stopped the run; its checkpoint is on disk."""


def check_run(spec: RunSpec) -> None:
    """Raise :class:`UserError` if the environment cannot be made or the policy cannot serve its spaces."""
    from synrl_ray.policies.spaces import check_spaces

    environment = spec.experiment.environment
    env = make_environment(environment.id, environment.kwargs)
    check_spaces(env.observation_space, env.action_space, environment.id)
    env.close()
    settings = spec.experiment.algorithm
    if settings.minibatch_size > settings.train_batch_size:
        raise UserError(
            f"minibatch_size {settings.minibatch_size} is larger than train_batch_size {settings.train_batch_size}",
            "make it smaller",
        )


def train_run(folder: RunFolder, spec: RunSpec, watch: Watcher = ignore) -> dict[str, Any]:
    """Train from the folder's checkpoint, or from the start, and return the result. Ray must be running.

    Raises:
        UserError: for a damaged checkpoint, or what an env runner or learner reports, such as NaN.
        Interrupted: after Ctrl-C.
    """
    with StopRequest() as stop:
        run = _Run(folder, spec, watch)
        try:
            while not run.ended:
                run.iterate()
                if stop.requested:
                    run.save()
                    raise Interrupted
            run.save()
            policy = run.policy()
        finally:
            run.close()
    run.report("evaluating")
    result = finish_run(folder, spec, policy, run.position)
    run.report("done", evaluation_mean=result["return_mean"])
    return result


class _Run:
    """One training in progress."""

    def __init__(self, folder: RunFolder, spec: RunSpec, watch: Watcher) -> None:
        from tensorboardX import SummaryWriter

        self.folder, self.spec, self.watch = folder, spec, watch
        self.label = f"{spec.policy} seed {spec.seed}"
        self.position = Position()
        self.last_evaluation: float | None = None
        self.rate = 0.0
        self.report("starting")
        self.algorithm = _build(spec)
        self._restore()
        folder.rewind_metrics(self.position.iteration)
        self.board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=self.position.env_steps)
        self.started = time.monotonic() - self.position.wall_seconds

    @property
    def ended(self) -> bool:
        stopping = self.spec.experiment.stopping
        solved = (
            stopping.mean_return is not None
            and self.last_evaluation is not None
            and self.last_evaluation >= stopping.mean_return
        )
        return solved or self.position.env_steps >= stopping.env_steps

    def iterate(self) -> None:
        """Train one iteration, evaluate where it is due, write one row."""
        before, began = self.position.env_steps, time.monotonic()
        measured = _train_once(self.algorithm)
        self.position = replace(
            self.position,
            iteration=self.position.iteration + 1,
            env_steps=measured.pop("env_steps"),
            episodes=self.position.episodes + measured.pop("new_episodes"),
            wall_seconds=time.monotonic() - self.started,
        )
        self.rate = (self.position.env_steps - before) / (time.monotonic() - began)
        row = {
            "iteration": self.position.iteration,
            "env_steps": self.position.env_steps,
            "episodes": self.position.episodes,
            "wall_seconds": round(self.position.wall_seconds, 3),
            "env_steps_per_second": round(self.rate, 1),
            **measured,
        }
        due = self._evaluation_is_due(before)
        if due:
            row.update(self._evaluate())
        self.folder.append_metrics(row)
        for name, value in row.items():
            if value is not None and name not in ("iteration", "env_steps"):
                self.board.add_scalar(name, value, self.position.env_steps)
        if due:
            self.save()
        self.report("training", return_mean=row["return_mean"])

    def policy(self) -> Policy:
        """The policy as it is now."""
        from synrl_ray.policies.policy import Policy

        module = self.algorithm.get_module()
        return Policy(module.network, module.observation_space, module.action_space)

    def save(self) -> None:
        """Write policy and checkpoint."""
        spec = self.spec
        self.policy().save(
            self.folder.path,
            experiment=spec.experiment.id,
            environment={"id": spec.experiment.environment.id, "kwargs": dict(spec.experiment.environment.kwargs)},
        )
        self.board.flush()
        self.folder.save_checkpoint(lambda path: self.algorithm.save_to_path(path.absolute()), self.position)

    def report(self, phase: Any, **values: Any) -> None:
        """Tell the watcher."""
        self.watch(
            Progress(
                label=self.label,
                phase=phase,
                env_steps=self.position.env_steps,
                total_steps=self.spec.experiment.stopping.env_steps,
                steps_per_second=self.rate,
                **{"evaluation_mean": self.last_evaluation, **values},
            )
        )

    def close(self) -> None:
        """Release actors and files."""
        self.board.close()
        self._release()

    def _release(self) -> None:
        self.algorithm.stop()
        shutil.rmtree(self.algorithm.logdir, ignore_errors=True)  # RLlib's own, beside the run folder and empty

    def _restore(self) -> None:
        found = self.folder.checkpoint()
        if found is None:
            return
        path, self.position = found
        try:
            self.algorithm.restore_from_path(path.absolute())
        except Exception as error:  # pickle, msgpack and Ray raise many types for damaged files
            self._release()
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"checkpoint {path.parent} is damaged ({reason})", "start a new run") from error
        for row in self.folder.metrics():
            if row["iteration"] <= self.position.iteration and row.get("evaluation_return_mean") is not None:
                self.last_evaluation = row["evaluation_return_mean"]

    def _evaluation_is_due(self, steps_before: int) -> bool:
        interval = self.spec.experiment.evaluation.interval_steps
        return self.position.env_steps // interval > steps_before // interval

    def _evaluate(self) -> dict[str, float]:
        self.report("evaluating")
        protocol = self.spec.experiment.evaluation
        # Seeds after those of the final evaluation, so that the two never share an episode.
        outcome = evaluate_run(
            self.policy(), self.spec, episodes=protocol.interim_episodes, seed=protocol.first_seed + protocol.episodes
        )
        summary = outcome.summary()
        self.last_evaluation = summary.mean
        return {
            "evaluation_return_mean": summary.mean,
            "evaluation_return_low": summary.ci95[0],
            "evaluation_return_high": summary.ci95[1],
        }


def _build(spec: RunSpec) -> Algorithm:
    import torch

    from synrl_ray.algorithms.ppo import ppo_config

    torch.set_num_threads(1)
    logging.getLogger("ray.rllib").setLevel(logging.CRITICAL)  # what goes wrong arrives as an exception
    config = ppo_config(spec.experiment, spec.policy, seed=spec.seed, num_workers=spec.num_workers)
    algorithm: Algorithm = config.build_algo()
    return algorithm


def _train_once(algorithm: Algorithm) -> dict[str, Any]:
    """One iteration; only what a row needs of RLlib's nested result."""
    try:
        result = algorithm.train()
    except Exception as error:
        cause = user_error_in(error)
        if cause is not None:
            raise cause from error
        raise
    runners, losses = result["env_runners"], result["learners"]["default_policy"]
    return {
        "env_steps": int(result["num_env_steps_sampled_lifetime"]),
        "new_episodes": int(runners.get("num_episodes", 0)),
        "return_mean": _finite(runners.get("episode_return_mean")),
        "episode_length_mean": _finite(runners.get("episode_len_mean")),
        "policy_loss": _finite(losses.get("policy_loss")),
        "value_loss": _finite(losses.get("vf_loss")),
        "entropy": _finite(losses.get("entropy")),
        "lr": _finite(losses.get("default_optimizer_learning_rate")),
    }


def user_error_in(error: BaseException | None) -> UserError | None:
    """The error meant for the user, which Ray wraps when it comes from another process."""
    for _ in range(10):
        if error is None:
            return None
        wrapped = getattr(error, "cause", None)  # Ray's wrapper is itself an instance of what it wraps
        if isinstance(error, UserError) and wrapped is None:
            return error
        error = wrapped or error.__cause__ or error.__context__
    return None


def _finite(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(value)
