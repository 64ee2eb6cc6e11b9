"""Episodes that are played together, and their advantages against sums one at a time."""

import numpy as np
import pytest

from synrl_ray.meta.trajectories import Trajectories, play_episodes, weights_of


class Counting:
    """Four environments whose episodes last 1, 2, 3 and 9 steps, and are paid the step's number."""

    def reset(self, seeds):
        self.seeds, self.at = seeds, 0
        return np.array(seeds, np.float32)[:, None]

    def step(self, actions, running):
        self.at += 1
        ended = running & (np.array([1, 2, 3, 9]) == self.at)
        return np.full((4, 1), self.at, np.float32), running * float(self.at), ended


def act(seen, step):
    return np.full((2, 2, 1), step, np.float32), np.zeros(4)


def test_episodes_end_where_they_end_and_what_follows_is_not_valid():
    played = play_episodes(Counting(), act, np.array([[5, 6], [7, 8]]), horizon=4)
    assert played.valid.transpose(1, 2, 0).tolist() == [
        [[True, False, False, False], [True, True, False, False]],
        [[True, True, True, False], [True] * 4],
    ]
    assert played.returns.tolist() == [[1, 3], [6, 10]]
    assert played.env_steps.tolist() == [3, 7]
    assert played.observations[0].ravel().tolist() == [5, 6, 7, 8]
    assert played.observations[1, 0, :, 0].tolist() == [0, 1]  # what has ended is not looked at
    short = play_episodes(Counting(), act, np.array([[5, 6], [7, 8]]), horizon=2)
    assert short.valid.shape == (2, 2, 2)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_advantages_are_sums_of_surprises(gae_lambda):
    rng, horizon, discount = np.random.default_rng(0), 6, 0.8
    lengths = np.array([[6, 3, 5], [2, 6, 6]])
    valid = np.arange(6)[:, None, None] < lengths
    seen = (rng.normal(size=(6, 2, 3, 2)) * valid[..., None]).astype(np.float32)
    rewards = rng.normal(size=(6, 2, 3)) * valid
    played = Trajectories(seen, np.zeros((6, 2, 3, 1), np.float32), rewards, valid)
    found = weights_of(played, horizon, discount, gae_lambda)
    for m in range(2):
        rows, targets = [], []
        for e in range(3):
            for t in range(lengths[m, e]):
                x, when = seen[t, m, e].astype(float), t / horizon
                rows.append([*x, *x**2, 1.0, when, when**2, when**3])
                targets.append(sum(discount**k * rewards[t + k, m, e] for k in range(lengths[m, e] - t)))
        phi, b = np.array(rows), np.array(targets)
        w = np.linalg.solve(phi.T @ phi + 1e-5 * np.eye(8), phi.T @ b)
        values, raw, start = phi @ w, [], 0
        for e in range(3):
            n = lengths[m, e]
            v = [*values[start : start + n], 0.0]
            delta = [rewards[t, m, e] + discount * v[t + 1] - v[t] for t in range(n)]
            raw += [sum((discount * gae_lambda) ** k * delta[t + k] for k in range(n - t)) for t in range(n)]
            start += n
        expected = (np.array(raw) - np.mean(raw)) / np.std(raw) / len(raw)
        mine = [found[t, m, e] for e in range(3) for t in range(lengths[m, e])]
        np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-9)
    assert (found[~valid] == 0).all()


def test_large_observations_of_which_two_are_the_same_do_not_end_training():
    rng, shape = np.random.default_rng(0), (6, 2, 3)
    column = rng.integers(0, 256, size=(*shape, 1)).astype(np.float32)
    seen = np.concatenate([column, column, np.full_like(column, 255)], -1)
    played = Trajectories(seen, np.zeros((*shape, 1), np.float32), rng.normal(size=shape), np.ones(shape, np.bool_))
    assert np.isfinite(weights_of(played, 6, 0.99, 0.95)).all()
