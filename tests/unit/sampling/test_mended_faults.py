"""Counts, seeds and causes of what fails and is mended, and the scale of rewards by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from failing_env import Failing
from gymnasium.vector import SyncVectorEnv
from test_return_scale import fragment

from synrl_ray.errors import UserError
from synrl_ray.sampling.failures import FAILURE, FailureCount, ResettingVectorEnv, RestartingVectorEnv
from synrl_ray.sampling.faults import Faults
from synrl_ray.sampling.return_scale import ReturnScale


class Seeded(Failing):
    """Fails at every step; notes the seeds of all copies."""

    seeds: list = []  # noqa: RUF012 (of the class)

    def __init__(self):
        super().__init__(always="raise")

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return super().reset(seed=seed)


def test_replaced_environments_have_seeds_in_the_upper_half():
    Seeded.seeds.clear()
    envs = RestartingVectorEnv.adopt(SyncVectorEnv([Seeded]), Seeded)
    envs.reset(seed=1)
    for _ in range(60):
        envs.step(np.zeros(1, np.int64))
    assert Seeded.seeds[0] == 1
    replaced = Seeded.seeds[1:]
    assert len(set(replaced)) == 60
    assert all(2**31 <= seed < 2**32 for seed in replaced)
    assert max(replaced) > 2**31 + 2**30, "all of it"


def test_what_is_meant_for_the_user_is_raised_when_an_environment_is_made_anew():
    def refuse():
        raise UserError("the licence has expired", "renew it")

    envs = RestartingVectorEnv.adopt(SyncVectorEnv([lambda: Failing(always="raise")]), refuse)
    envs.reset(seed=0)
    with pytest.raises(UserError, match=r"^the licence has expired — renew it"):
        envs.step(np.zeros(1, np.int64))


class Form(SyncVectorEnv):
    """A vector form of one environment, whose reset or step raises."""

    def __init__(self, **raises):
        super().__init__([Failing])
        self.raises = raises

    def reset(self, **given):
        if "reset" in self.raises:
            raise self.raises["reset"]
        return super().reset(**given)

    def step(self, actions):
        if "step" in self.raises:
            raise self.raises["step"]
        return super().step(actions)


REFUSED = UserError("the licence has expired", "renew it")


def test_of_a_vector_form_what_is_meant_for_the_user_is_raised_wherever_it_comes_from():
    with pytest.raises(UserError, match=r"^the licence has expired — renew it$"):
        ResettingVectorEnv(Form(reset=REFUSED), Form).reset(seed=0)
    envs = ResettingVectorEnv(Form(step=REFUSED), Form)
    envs.reset(seed=0)
    with pytest.raises(UserError, match=r"^the licence has expired — renew it$"):
        envs.step(np.zeros(1, np.int64))
    envs = ResettingVectorEnv(Form(step=OSError("broken")), lambda: Form(reset=REFUSED))
    envs.reset(seed=0)
    with pytest.raises(UserError, match=r"^the licence has expired — renew it$"):
        envs.step(np.zeros(1, np.int64))


def test_a_vector_form_whose_reset_fails_is_made_anew_and_one_that_fails_again_is_given_up():
    observations, info = ResettingVectorEnv(Form(reset=OSError("broken")), Form).reset(seed=0)
    assert observations[0, 0] == 0
    assert info["_failure"].all()
    envs = ResettingVectorEnv(Form(reset=OSError("broken")), lambda: Form(reset=OSError("still broken")))
    with pytest.raises(
        UserError, match=r"the environments failed \(.*broken.*\) and cannot be made anew \(.*still broken"
    ):
        envs.reset(seed=0)


def test_environments_start_without_seeds_too_and_a_list_is_one_for_each():
    envs = RestartingVectorEnv.adopt(SyncVectorEnv([Seeded] * 3), Seeded)
    Seeded.seeds.clear()
    envs.reset()
    envs.reset(seed=[7, 5, 6])
    assert Seeded.seeds == [None, None, None, 7, 5, 6]


def test_the_last_of_several_causes_is_told():
    count = FailureCount("Robot-v1", 1.0)
    count.note({"failure": np.array([None, "first", "last"], dtype=object)}, 10)
    assert count.take() == (2, "last")
    assert (count.take(), count.steps) == ((0, "last"), 10)
    count.note({}, 20)
    assert (count.failures, count.steps) == (2, 10)
    count.reset()
    assert count.take() == (0, "last")


class Group:
    """Two runners, of which one dies in the iterations that are named and is back in the next one."""

    def __init__(self, *deaths):
        self.deaths, self.iteration, self.healthy = deaths, 0, 2

    def num_remote_env_runners(self):
        return 2

    def num_healthy_remote_workers(self):
        return self.healthy

    def foreach_env_runner(self, function, *, local_env_runner, remote_worker_ids=None):
        self.iteration += 1
        self.healthy = 1 if self.iteration in self.deaths else 2
        take = SimpleNamespace(take=lambda: (0, ""))
        runner = SimpleNamespace(worker_index=1, sample=lambda: "r", get_metrics=lambda: "m", failures=take)
        return [function(runner)] * self.healthy

    def probe_unhealthy_env_runners(self, timeout_seconds):
        self.healthy = 2
        return [2]


@pytest.mark.parametrize(
    ("deaths", "borne"),
    [((2, 3, 4), True), ((1, 2, 3), True), ((1, 2, 3, 4), False), ((2, 3, 4, 5), False), ((1, 2, 3, 5, 6, 7), True)],
)
def test_three_losses_in_a_row_are_borne_wherever_they_begin(deaths, borne):
    faults, group = Faults("e", 0.1), Group(*deaths)

    def run():
        for _ in range(8):
            faults.sample(group)
            faults.find_restarted(group)

    if borne:
        run()
        assert faults.get_state() == {"env_failures": 0, "runner_restarts": len(deaths)}
    else:
        with pytest.raises(UserError, match="a worker process died"):
            run()


def test_the_scale_by_hand():
    """gamma 0.5: returns 1 and 2.5, then a new episode with 4 and 2; a step that is none is passed by."""
    scale = ReturnScale(0.5)
    assert scale.update([fragment([[0.0], [0.0]])]) == 1.0, "nothing has been spread yet"
    scale = ReturnScale(0.5)
    starts, valid = [[True], [False], [False], [True], [False]], [[True], [True], [False], [True], [True]]
    factor = scale.update([fragment([[1], [2], [9], [4], [0]], starts, valid)])
    returns = np.array([1, 2.5, 4, 2])
    assert factor == pytest.approx(1 / np.sqrt(returns.var() + 1e-8), rel=1e-9)
    more = scale.update([fragment([[1.0]])])  # the episode goes on: 0.5 * 2 + 1
    returns = np.append(returns, 2.0)
    assert more == pytest.approx(1 / np.sqrt(returns.var() + 1e-8), rel=1e-9)
    assert scale.get_state() == pytest.approx(
        {"count": 5, "mean": returns.mean(), "squares": np.square(returns - returns.mean()).sum()}
    )


def test_small_spreads_are_bounded():
    """Of deviation 1e-4 the variance is the bound itself: the factor is 1 / sqrt(2e-8)."""
    factor = ReturnScale(0.0).update([fragment(np.array([[-1e-4], [1e-4]]))])
    assert factor == pytest.approx(1 / np.sqrt(2e-8), rel=1e-4)


def test_of_a_new_number_of_environments_or_runners_the_returns_begin_again():
    for after in ([fragment(np.full((1, 3), 2.0))], [fragment([[2.0]]), fragment([[2.0]])]):
        scale = ReturnScale(1.0)
        scale.update([fragment([[5.0], [6.0]])])
        scale.update(after)
        count = 2 + sum(part.rewards.size for part in after)
        assert scale.get_state()["mean"] == pytest.approx((5 + 11 + 2 * (count - 2)) / count)


def test_a_scale_that_is_restored_begins_new_episodes():
    scale = ReturnScale(1.0)
    scale.update([fragment([[5.0], [6.0]])])
    scale.set_state({"count": 2, "mean": 8.0, "squares": 18.0})
    scale.update([fragment([[2.0]])])
    assert scale.get_state()["mean"] == pytest.approx((5 + 11 + 2) / 3)


class Alternating(Form):
    """Its first observations are NaN, or it raises, at every other reset of all that are made."""

    resets = 0
    nan = True

    def reset(self, **given):
        Alternating.resets += 1
        observations, infos = super().reset(**given)
        if Alternating.resets % 2 and not self.nan:
            raise OSError("no connection")
        return observations * (np.nan if Alternating.resets % 2 else 1), infos


@pytest.mark.parametrize(("nan", "cause"), [(True, "the observation is not finite"), (False, "no connection")])
def test_a_vector_form_that_fails_when_it_is_reset_is_counted_and_gives_numbers(monkeypatch, nan, cause):
    monkeypatch.setattr(Alternating, "resets", 0)
    monkeypatch.setattr(Alternating, "nan", nan)
    envs = ResettingVectorEnv(Alternating(), Alternating)
    observations, infos = envs.reset(seed=0)
    assert np.isfinite(observations).all()
    assert infos[f"_{FAILURE}"].all()
    assert cause in infos[FAILURE][0]
    count = FailureCount("it", 0.5)
    count.note(infos, 10)
    assert count.failures == 1


def test_a_vector_form_that_is_never_finite_is_refused(monkeypatch):
    monkeypatch.setattr(Alternating, "resets", 0)
    monkeypatch.setattr(Alternating, "reset", lambda self, **given: (np.full((1, 2), np.nan, np.float32), {}))
    with pytest.raises(UserError, match="the observation is not finite"):
        ResettingVectorEnv(Alternating(), Alternating).reset()
