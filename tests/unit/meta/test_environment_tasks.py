"""Families of tasks of any environment: splits, samplers, and what is refused."""

import sys
from contextlib import closing
from types import SimpleNamespace

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec

from synrl_ray.errors import UserError
from synrl_ray.meta.environment_tasks import EnvironmentDistribution
from synrl_ray.meta.tasks import SPLITS
from synrl_ray.settings.meta import EnvironmentTasks
from synrl_ray.settings.search import Choice, LogUniform, Uniform

LENGTHS = {"length": Uniform(0.3, 0.7)}


def family(parameters=None, env_id="CartPole-v1", **settings):
    return EnvironmentDistribution(EnvironmentTasks(id=env_id, parameters=parameters or {}, **settings))


def grid(count):
    return Choice(tuple(0.1 * (1 + i) for i in range(count)))


@pytest.mark.parametrize("parameters", [LENGTHS, {"length": grid(9), "force_mag": Choice((5.0, 10.0))}])
def test_no_two_splits_share_a_task(parameters):
    tasks = family(parameters)
    drawn = {split: set(tasks.identities(split, range(300))) for split in SPLITS}
    assert all(drawn.values())
    for a in SPLITS:
        for b in SPLITS:
            assert a == b or drawn[a].isdisjoint(drawn[b])
    assert len(set().union(*drawn.values())) == (18 if len(parameters) == 2 else 900)


def test_a_task_is_a_function_of_its_split_and_seed():
    tasks = family({"length": LogUniform(0.1, 10.0), "gravity": Uniform(1, 2)})
    together, alone = tasks.sample("train", [5, 9, 2]).tasks, tasks.sample("train", [9]).tasks
    assert together[1] == alone[0]
    many = tasks.sample("validation", range(400)).tasks
    lengths = sorted(task["length"] for task in many)
    assert 0.1 <= lengths[0] < 0.15
    assert 6 < lengths[-1] <= 10.0
    assert lengths[200] == pytest.approx(1.0, rel=0.3)  # the middle of a logarithmic range
    assert all(1 <= task["gravity"] <= 2 for task in many)


def test_another_environment_is_no_parameter():
    with pytest.raises(ValueError, match="parameters hold env_id, which is another environment: give it in kwargs"):
        EnvironmentTasks(id="GymV21Environment-v0", parameters={"env_id": Choice(("my_module:Mine-v0", "CartPole-v1"))})


def test_a_number_that_no_float_holds_is_refused_in_one_line():
    with pytest.raises(UserError, match="a task holds what is no plain value"):
        family({"length": Choice((10**400, 1))}).identities("test", range(9))


def test_whatever_is_made_is_closed(monkeypatch):
    made, closed = [], []

    class Counted(CartPoleEnv):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            made.append(self)

        def close(self):
            closed.append(self)

    monkeypatch.setitem(gym.registry, "tests/Counted-v0", EnvSpec("tests/Counted-v0", entry_point=Counted))
    tasks = family(LENGTHS, env_id="tests/Counted-v0", horizon=3)
    tasks.require_told_apart("test", 5)
    with closing(tasks.sample("train", range(3))) as batch:
        batch.envs(2).reset(range(6))
        batch.envs(1)
    assert len(made) > 9
    assert {*map(id, made)} == {*map(id, closed)}


def test_a_sampler_of_ones_own(monkeypatch):
    class Poles:
        def sample(self, seed):
            return {"length": 0.2 + (seed % 90) / 100}

    monkeypatch.setitem(sys.modules, "my_tasks", SimpleNamespace(Poles=Poles, Nothing=object, Odd=Odd))
    tasks = family(sampler="my_tasks:Poles")
    drawn = {split: set(tasks.identities(split, range(300))) for split in SPLITS}
    assert sum(map(len, drawn.values())) == len(set().union(*drawn.values())) <= 90
    with pytest.raises(UserError, match=r"'my_tasks:Nothing' has no sample\(seed\)"):
        family(sampler="my_tasks:Nothing")
    with pytest.raises(UserError, match=r"sampler 'my_tasks:Missing' cannot be made \(AttributeError"):
        family(sampler="my_tasks:Missing")
    with pytest.raises(UserError, match=r"sample\(\) of my_tasks:Odd failed \(KeyError: 'no task'"):
        family(sampler="my_tasks:Odd")


class Odd:
    def sample(self, seed):
        raise KeyError("no task")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"length": Choice((0.5, 0.6))}, "2 distinct tasks, and none is for"),
        ({"masscart": Uniform(1, 2)}, "40 test tasks of CartPole-v1 cannot be told apart by 'masscart'"),
        ({"length": Uniform(0.3, 0.7), "options.lw": Uniform(0, 1)}, "told apart by 'options.lw'"),
    ],
)
def test_tasks_that_cannot_be_told_apart_are_refused_with_their_number(parameters, message):
    with pytest.raises(UserError, match=message) as caught:
        family(parameters).require_told_apart("test", 40)
    assert "\n" not in str(caught.value)


def test_one_distinct_task_of_many_is_refused():
    tasks = family({"length": grid(3)})
    assert len(set(tasks.identities("test", range(50)))) == 1
    with pytest.raises(UserError, match="the 50 test tasks of CartPole-v1 are 1 distinct one"):
        tasks.require_told_apart("test", 50)
    family(LENGTHS).require_told_apart("test", 50)


@pytest.mark.parametrize("settings", [{}, {"parameters": LENGTHS, "sampler": "a:B"}])
def test_one_source_of_tasks_is_needed(settings):
    with pytest.raises(ValueError, match="parameters and sampler are both"):
        EnvironmentTasks(id="CartPole-v1", **settings)


def test_scales_are_one_for_each_feature_or_for_all():
    with pytest.raises(UserError, match="observation_scale has 2 numbers for 4 features"):
        family(LENGTHS, observation_scale=(1.0, 2.0))


def test_equal_values_of_other_types_are_one_task():
    numbers = Choice((*range(8), *(float(n) for n in range(8)), -0.0))
    drawn = {split: set(family({"force_mag": numbers}).identities(split, range(200))) for split in SPLITS}
    assert sum(map(len, drawn.values())) == 8
