"""What an asynchronous run asks for, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from synrl_ray.algorithms.build import check_algorithm
from synrl_ray.api.specs import make_specs
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.experiment import Experiment
from synrl_ray.kinds.control.trainer import configure
from synrl_ray.running.spec import RunSpec


def spec_of(*settings: str, **scale: int) -> RunSpec:
    (spec,) = make_specs(None, "spiking", env="CartPole-v1", settings=["algorithm=impala", *settings], **scale)
    return spec


def check(spec: RunSpec) -> None:
    env = make_environment("CartPole-v1", {}, None)
    experiment = spec.experiment_as(Experiment)
    check_algorithm(
        experiment, spec.policy, (env.observation_space, env.action_space), spec.num_workers, spec.num_learners
    )


def test_a_learner_of_its_own_comes_with_workers_and_counts_as_a_process() -> None:
    assert (spec_of().num_learners, spec_of().num_processes) == (0, 0)
    assert (spec_of(num_workers=2).num_learners, spec_of(num_workers=2).num_processes) == (1, 3)
    assert spec_of(num_workers=4, num_learners=2).num_learners == 2


def test_a_batch_is_a_fragment_of_every_environment_or_of_as_many_as_are_set() -> None:
    every, half = (configure(spec_of(*more, num_workers=4)) for more in ((), ("envs_per_batch=4",)))
    assert (every.train_batch_size_per_learner, every.fragments_per_batch) == (160, 4)
    assert (half.train_batch_size_per_learner, half.fragments_per_batch) == (80, 2)
    assert {config.get_rollout_fragment_length(1) for config in (every, half)} == {20}
    assert configure(spec_of("envs_per_batch=1")).get_rollout_fragment_length(0) == 20


REFUSED: dict[str, tuple[tuple[str, ...], dict[str, int], str]] = {
    "learners without workers": ((), {"num_learners": 1}, "--num-learners means nothing without --num-workers"),
    "learners that share nothing evenly": (
        ("envs_per_batch=6",),
        {"num_workers": 4, "num_learners": 2},
        "2 learners cannot share batches of 3 fragments",
    ),
    "parts of a worker": (("envs_per_batch=3",), {"num_workers": 4}, "batches of 3 environments are not made of the 2"),
    "more environments than there are": (("envs_per_batch=16",), {"num_workers": 4}, "batches of 16 environments"),
    "passes without a bound": (("num_epochs=2",), {}, "several steps on one batch need a bound"),
    "minibatches without a bound": (("minibatch_size=32",), {}, "several steps on one batch need a bound"),
    "no lag": (("max_lag=2",), {}, "max_lag 2 leaves no time to sample"),
    "plastic layers": (('spiking.plastic={"layers": [0]}',), {}, "change no weights"),
    "sequences": (("spiking.carry_state=true", "spiking.max_seq_len=16"), {}, "no multiple of max_seq_len 16"),
    "scaled rewards of several learners": ((), {"num_workers": 4, "num_learners": 2}, "normalise_rewards needs all"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_in_a_line(name: str) -> None:
    settings, scale, problem = REFUSED[name]
    with pytest.raises(UserError, match=problem):
        check(spec_of(*settings, **scale))


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ((), {}),
        ((), {"num_workers": 8}),
        (("envs_per_batch=4",), {"num_workers": 4}),
        (("envs_per_batch=2",), {}),
        (("normalise_rewards=false",), {"num_workers": 4, "num_learners": 2}),
        (("clip_param=0.2", "num_epochs=4", "minibatch_size=64"), {"num_workers": 2}),
    ],
)
def test_all_else_is_not(settings: Any, scale: Any) -> None:
    check(spec_of(*settings, **scale))
