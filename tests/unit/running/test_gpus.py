"""How many GPUs a run asks for, and that too few are an error at once, before anything waits for them."""

from dataclasses import replace

import pytest
import torch

from synrl_ray.api.specs import make_specs
from synrl_ray.errors import UserError
from synrl_ray.kinds import kind_of
from synrl_ray.running import ray_session as session
from synrl_ray.running.again import train_words
from synrl_ray.running.gpus import NO_GPUS, Gpus, gpus_of, require_cuda
from synrl_ray.running.spec import RunSpec


def spec_of(experiment="cartpole-ppo", **scale):
    return make_specs(experiment, **scale)[0]


def asked(experiment="cartpole-ppo", **scale):
    spec = spec_of(experiment, **scale)
    return gpus_of(spec, kind_of(spec.experiment))


@pytest.mark.parametrize(
    ("gpus", "of_trainer", "needed", "runs_on_4"),
    [
        (Gpus(1.0), 1.0, 1, 4),
        (Gpus(0.25), 0.25, 1, 16),
        (Gpus(1.0, 3), 0.0, 3, 1),
        (Gpus(0.3, 4), 0.0, 2, 3),  # three on one GPU, and the fourth on another
        (Gpus(0.6, 3), 0.0, 3, 1),  # 1.8 GPUs, but no process lies on two
        (Gpus(0.1, 10), 0.0, 1, 4),
    ],
)
def test_arithmetic(gpus, of_trainer, needed, runs_on_4):
    assert (gpus.of_trainer, gpus.needed, gpus.runs_on(4)) == (of_trainer, needed, runs_on_4)


def test_the_gpus_are_those_of_whoever_computes_gradients():
    assert asked() == NO_GPUS
    assert asked(gpus_per_learner=0.5, num_workers=2) == Gpus(0.5)  # env runners are on the CPU
    assert asked(gpus_per_learner=1.0, num_learners=2) == Gpus(1.0, 2)
    assert asked("sinusoid-maml", gpus_per_learner=0.5, num_workers=3) == Gpus(0.5, 3)
    assert asked("mnist-binary", gpus_per_learner=1.0) == Gpus(1.0)


def test_trials_are_placed_with_them():
    assert Gpus(0.5).bundles(2) == [{"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0}, {"CPU": 1.0}]
    assert Gpus(0.5, 2).bundles(2) == [{"CPU": 1.0}, {"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0, "GPU": 0.5}]
    assert NO_GPUS.bundles(1) == [{"CPU": 1.0}, {"CPU": 1.0}]


@pytest.mark.parametrize("scale", [
    {"gpus_per_learner": 1.5}, {"gpus_per_learner": -1.0}, {"gpus_per_learner": float("nan")},
    {"gpus_per_learner": 0.5, "num_learners": 2}, {"experiment": "taxi-q-learning", "gpus_per_learner": 1.0},
])  # fmt: skip
def test_what_means_nothing_is_refused(scale):
    with pytest.raises(UserError):
        asked(**scale)


def test_a_torch_without_cuda_is_told_of(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--gpus-per-learner needs CUDA"):
        require_cuda()


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(session, "own_ray", lambda **options: pytest.fail("Ray would have been started"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.usefixtures("one_gpu")
def test_more_gpus_than_the_machine_has_are_an_error_before_ray_starts():
    if session._is_initialised():
        pytest.skip("this process has a Ray")
    with (
        pytest.raises(UserError, match="this machine has 1 GPUs, and a run needs 2"),
        session.ray_session(None, num_workers=2, gpus=Gpus(1.0, 2)),
    ):
        pass


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_more_gpus_than_the_cluster_has_are_an_error_before_anything_waits():
    with (
        pytest.raises(UserError, match="the Ray cluster has 0 GPUs, and a run needs 2"),
        session.ray_session(None, num_workers=2, gpus=Gpus(1.0, 2)),
    ):
        pass


def test_the_number_is_part_of_the_run_and_of_its_command():
    spec = spec_of(gpus_per_learner=0.5)
    assert RunSpec.from_json(spec.to_json()) == spec
    words = train_words(spec)
    assert words[words.index("--gpus-per-learner") + 1] == "0.5"
    old = spec.to_json()
    del old["gpus_per_learner"]  # of runs before there was one
    assert RunSpec.from_json(old) == replace(spec, gpus_per_learner=0.0)
