"""The replay on episodes whose observations count the steps: 10 * episode + step."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from synrl_ray.algorithms.off_policy.replay import Replay
from synrl_ray.errors import NonFiniteError

OBSERVATIONS, ACTIONS = gym.spaces.Box(0, 1000, (1,), np.float32), gym.spaces.Discrete(10)


class Game:
    """An episode that grows in pieces, as RLlib's env runner hands them out; the reward of step t is t + 1."""

    def __init__(self, number: int) -> None:
        self.episode = SingleAgentEpisode(observation_space=OBSERVATIONS, action_space=ACTIONS)
        self.first, self.step = 10 * number, 0
        self.episode.add_env_reset(self._observation())

    def _observation(self):
        return np.array([self.first + self.step], np.float32)

    def play(self, steps: int, *, terminated: bool = False, truncated: bool = False) -> SingleAgentEpisode:
        for left in range(steps - 1, -1, -1):
            self.step += 1
            ends = {"terminated": terminated and not left, "truncated": truncated and not left}
            self.episode.add_env_step(self._observation(), self.step % 10, float(self.step), **ends)
        piece = self.episode
        if not piece.is_done:
            self.episode = piece.cut()
        return piece.to_numpy()


def drawn(replay, **settings):
    """Observation → (action, reward, next observation, terminated, steps), for all transitions."""
    sample = replay.sample(2000, **settings)
    columns = (
        sample.actions,
        sample.rewards,
        sample.next_observations[:, 0],
        sample.terminated,
        sample.num_steps,
    )
    found = {}
    for observation, *row in zip(sample.observations[:, 0], *columns, strict=True):
        row = tuple(value.item() for value in row)
        assert found.setdefault(int(observation), row) == row
    return found


def test_every_transition_is_drawn_as_it_was():
    replay = Replay(100)
    replay.add([Game(0).play(3, terminated=True), Game(1).play(2, truncated=True)])
    assert len(replay) == 5
    assert drawn(replay) == {
        0: (1, 1.0, 1.0, False, 1),
        1: (2, 2.0, 2.0, False, 1),
        2: (3, 3.0, 3.0, True, 1),
        10: (1, 1.0, 11.0, False, 1),
        11: (2, 2.0, 12.0, False, 1),  # truncated: its value is still taken from the target network
    }


def test_n_steps_stop_where_the_episode_ends_and_go_on_across_pieces():
    replay, first, second = Replay(100), Game(0), Game(1)
    replay.add([first.play(2), second.play(1)])
    replay.add([second.play(1), first.play(2, terminated=True)])
    rows = drawn(replay, n_step=3, gamma=0.5)
    assert rows == {
        0: (1, 1 + 0.5 * 2 + 0.25 * 3, 3.0, False, 3),
        1: (2, 2 + 0.5 * 3 + 0.25 * 4, 4.0, True, 3),
        2: (3, 3 + 0.5 * 4, 4.0, True, 2),
        3: (4, 4.0, 4.0, True, 1),
        10: (1, 1 + 0.5 * 2, 12.0, False, 2),  # more is not known yet
        11: (2, 2.0, 12.0, False, 1),
    }


def test_oldest_transitions_make_room_and_chains_never_cross_into_others():
    replay, game = Replay(4), Game(0)
    replay.add([game.play(3)])
    replay.add([Game(1).play(3, terminated=True)])
    replay.add([game.play(1)])
    assert len(replay) == 4
    assert drawn(replay, n_step=3, gamma=1.0) == {
        10: (1, 6.0, 13.0, True, 3),
        11: (2, 5.0, 13.0, True, 2),
        12: (3, 3.0, 13.0, True, 1),
        3: (4, 4.0, 4.0, False, 1),
    }


def test_a_chain_is_kept_as_long_as_its_row_is_there():
    replay, game = Replay(4), Game(0)
    replay.add([game.play(1)])
    replay.add([Game(1).play(2, truncated=True)])
    replay.add([game.play(1)])  # the memory is full, and nothing overwritten yet
    assert drawn(replay, n_step=2, gamma=1.0) == {
        0: (1, 3.0, 2.0, False, 2),
        1: (2, 2.0, 2.0, False, 1),
        10: (1, 3.0, 12.0, False, 2),
        11: (2, 2.0, 12.0, False, 1),
    }


def test_chain_is_cut_where_its_row_has_been_overwritten():
    replay, game = Replay(3), Game(0)
    replay.add([game.play(1)])
    replay.add([Game(1).play(3, truncated=True)])  # overwrites the first row
    replay.add([game.play(1)])
    assert drawn(replay, n_step=2, gamma=1.0) == {
        11: (2, 5.0, 13.0, False, 2),
        12: (3, 3.0, 13.0, False, 1),
        1: (2, 2.0, 2.0, False, 1),
    }


def test_a_piece_longer_than_the_memory_leaves_its_newest_steps():
    replay = Replay(2)
    replay.add([Game(0).play(5, terminated=True)])
    assert drawn(replay, n_step=4, gamma=1.0) == {3: (4, 9.0, 5.0, True, 2), 4: (5, 5.0, 5.0, True, 1)}


def test_uniform_draws_are_uniform_and_unweighted():
    replay = Replay(100)
    replay.add([Game(0).play(4, terminated=True)])
    sample = replay.sample(8000)
    assert np.bincount(sample.rows, minlength=4) / 8000 == pytest.approx([0.25] * 4, abs=0.02)
    assert np.all(sample.weights == 1)


def test_prioritised_draws_follow_the_formula_of_the_paper():
    alpha, beta, errors = 0.6, 0.4, np.array([0.1, 1.0, 2.0, 4.0])
    replay = Replay(100, alpha=alpha, beta=beta)
    replay.add([Game(0).play(4, terminated=True)])
    replay.update_priorities(np.arange(4), -errors)
    sample = replay.sample(40_000)
    probabilities = errors**alpha / (errors**alpha).sum()
    assert np.bincount(sample.rows) / 40_000 == pytest.approx(probabilities, abs=0.01)
    weights = (4 * probabilities) ** -beta
    assert sample.weights == pytest.approx((weights / weights.max())[sample.rows], rel=1e-5)


def test_new_transitions_get_the_highest_priority_so_far():
    replay = Replay(100, alpha=1.0, beta=0.0)
    replay.add([Game(0).play(2, terminated=True)])
    replay.update_priorities(np.arange(2), np.array([9.0, 1e-12]))
    replay.add([Game(1).play(1, terminated=True)])
    counts = np.bincount(replay.sample(10_000).rows, minlength=3) / 10_000
    assert counts == pytest.approx([0.5, 0.0, 0.5], abs=0.03)


def test_draws_are_reproducible_from_the_seed():
    def rows(seed):
        replay = Replay(100)
        replay.add([Game(0).play(9, terminated=True)])
        replay.reseed(np.random.SeedSequence(seed))
        return replay.sample(50).rows.tolist()

    assert rows([1, 2]) == rows([1, 2]) != rows([1, 3])


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_values_that_are_not_finite_are_refused(what):
    game = Game(0)
    observation, reward = game._observation(), 1.0
    if what == "reward":
        reward = float("nan")
    else:
        observation = observation * np.nan
    game.episode.add_env_step(observation, 0, reward)
    with pytest.raises(NonFiniteError, match=f"the {what}"):
        Replay(10).add([game.episode.to_numpy()])
