"""V-trace against its definition, a sum over the fragment in float64, and against n-step returns."""

import numpy as np
import pytest

from synrl_ray.algorithms.impala.vtrace import vtrace
from synrl_ray.sampling.rollout import Rollout, advantages

STEPS, ENVS, GAMMA = 9, 5, 0.93


def rollout_of(rng, *, ends=0.2):
    shape = (STEPS, ENVS)
    ended = rng.random(shape) < ends
    terminated = ended & (rng.random(shape) < 0.5)
    valid = np.ones(shape, np.bool_)
    valid[1:] = ~ended[:-1]  # the step after an end is a reset
    ended &= valid
    terminated &= valid
    return Rollout(
        observations=np.zeros((*shape, 1), np.float32),
        actions=np.zeros(shape, np.int64),
        inputs=np.zeros((*shape, 2), np.float32),
        logp=np.zeros(shape, np.float32),
        values=rng.normal(size=(STEPS + 1, ENVS)).astype(np.float32),
        rewards=np.where(valid, rng.normal(size=shape), 0).astype(np.float32),
        terminated=terminated,
        truncated=ended & ~terminated,
        valid=valid,
        starts=np.zeros(shape, np.bool_),
        states=np.zeros((1, ENVS, 0), np.float32),
    )


def by_definition(rollout, values, ratios, lam, rho_clip, c_clip):
    """Espeholt et al. (2018), eq. 1: a sum over what follows of products of the ratios before it."""
    targets, advantages_ = values[:-1].astype(np.float64).copy(), np.zeros((STEPS, ENVS))
    for n in range(ENVS):
        for s in range(STEPS):
            if not rollout.valid[s, n]:
                continue
            product = 1.0
            for t in range(s, STEPS):
                if t > s and not rollout.valid[t, n]:
                    break
                following = 0.0 if rollout.terminated[t, n] else values[t + 1, n]
                delta = float(rollout.rewards[t, n]) + GAMMA * following - values[t, n]
                targets[s, n] += GAMMA ** (t - s) * product * min(rho_clip, ratios[t, n]) * delta
                product *= lam * min(c_clip, ratios[t, n])
                if rollout.terminated[t, n] or rollout.truncated[t, n]:
                    break
    for n in range(ENVS):
        for s in range(STEPS):
            if rollout.valid[s, n]:
                goes_on = not (rollout.terminated[s, n] or rollout.truncated[s, n]) and s + 1 < STEPS
                following = 0.0 if rollout.terminated[s, n] else float(values[s + 1, n])
                after = lam * (targets[s + 1, n] - values[s + 1, n]) if goes_on else 0.0
                advantages_[s, n] = rollout.rewards[s, n] + GAMMA * (following + after) - values[s, n]
    return targets, advantages_


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("lam", "rho_clip", "c_clip"), [(1.0, 1.0, 1.0), (0.9, 1.5, 0.7), (0.0, 1.0, 1.0)])
def test_it_is_the_sum_of_its_definition(seed, lam, rho_clip, c_clip):
    rng = np.random.default_rng(seed)
    rollout = rollout_of(rng)
    values, ratios = rng.normal(size=(STEPS + 1, ENVS)), np.exp(rng.normal(size=(STEPS, ENVS)))
    targets, found = vtrace(rollout, values, ratios, gamma=GAMMA, gae_lambda=lam, rho_clip=rho_clip, c_clip=c_clip)
    wanted = by_definition(rollout, values, ratios, lam, rho_clip, c_clip)
    np.testing.assert_allclose(targets, wanted[0], atol=1e-6)
    np.testing.assert_allclose(found, wanted[1], atol=1e-6)


@pytest.mark.parametrize("lam", [1.0, 0.8])
def test_with_the_weights_that_acted_it_is_generalised_advantage_estimation(lam):
    rollout = rollout_of(np.random.default_rng(0))
    targets, found = vtrace(rollout, rollout.values, np.ones((STEPS, ENVS)), gamma=GAMMA, gae_lambda=lam)
    wanted = advantages(rollout, GAMMA, lam)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(targets, wanted + rollout.values[:-1], atol=1e-5)


def test_with_the_weights_that_acted_its_targets_are_n_step_returns():
    rollout = rollout_of(np.random.default_rng(1), ends=0.0)
    targets, _ = vtrace(rollout, rollout.values, np.ones((STEPS, ENVS)), gamma=GAMMA)
    returns = rollout.values[-1].astype(np.float64)
    for t in range(STEPS - 1, -1, -1):
        returns = rollout.rewards[t] + GAMMA * returns
        np.testing.assert_allclose(targets[t], returns, atol=1e-5)


def test_actions_that_are_never_taken_now_leave_values_as_they_are():
    rollout = rollout_of(np.random.default_rng(2))
    targets, _ = vtrace(rollout, rollout.values, np.zeros((STEPS, ENVS)), gamma=GAMMA)
    np.testing.assert_array_equal(targets, rollout.values[:-1])
