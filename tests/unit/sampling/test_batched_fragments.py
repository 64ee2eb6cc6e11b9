"""Fragments of the batched env runner, worked out by hand: episodes that end differently in two environments."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.experiment import A2C, AnnPolicy, Environment, Experiment, Reinforce, SpikingPolicy, Stopping
from synrl_ray.sampling import batched
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.seeding import draw_seeds

ENV_ID = "Scripted-v0"
F, T = False, True


class Scripted(gym.Env):
    """Copy ``n`` of two: episodes of 2 and 3 steps in turn, the second copy begins with 3. The first episode of each is
    terminated, the second truncated, and so on; the reward of the k-th step is k, in the second copy 10 k."""

    observation_space = gym.spaces.Box(-1, 100, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)
    made: ClassVar[list] = []

    def __init__(self):
        self.metadata = {"render_modes": []}
        self.copy, self.episode, self.seeds = len(self.made) % 2, -1, []
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.count, self.episode = 0, self.episode + 1
        return self._observation(), {}

    def step(self, action):
        self.count += 1
        ended = self.count == 2 + (self.copy + self.episode) % 2
        reward = float(self.count * (1, 10)[self.copy])
        return self._observation(), reward, ended and self.episode % 2 == 0, ended and self.episode % 2 == 1, {}

    def _observation(self):
        return np.array([self.count, self.episode, self.copy], np.float32)


gym.register(ENV_ID, entry_point=Scripted)

CARRIED = SpikingPolicy(hidden_sizes=(4,), carry_state=True, steps_per_observation=1, max_seq_len=3)
SEPARABLE = SpikingPolicy(hidden_sizes=(4,))


def runner_of(policy=CARRIED, algorithm=None, *, seed=1, worker=0, workers=0, callbacks=None):
    Scripted.made.clear()
    experiment = Experiment(
        id="scripted",
        summary="scripted",
        environment=Environment(id=ENV_ID, num_envs=2),
        spiking=policy,
        ann=AnnPolicy(hidden_sizes=(4,)),
        algorithm=algorithm or A2C(num_steps=6),
        stopping=Stopping(env_steps=1000),
    )
    config = algorithm_config(experiment, "spiking", seed=seed, num_workers=0)
    if callbacks is not None:
        config.callbacks(callbacks)
    config.num_env_runners = workers
    return BatchedEnvRunner(config=config, worker_index=worker)


def columns(rollout, name):
    return getattr(rollout, name).T.tolist()


def test_rows_of_two_environments_by_hand():
    """Each episode's end is followed by a row that is no transition, whose observation is the episode's last one."""
    rollout = runner_of().sample()
    assert columns(rollout, "valid") == [[T, T, F, T, T, T], [T, T, T, F, T, T]]
    assert columns(rollout, "starts") == [[T, F, F, T, F, F], [T, F, F, F, T, F]]
    assert columns(rollout, "terminated") == [[F, T, F, F, F, F], [F, F, T, F, F, F]]
    assert columns(rollout, "truncated") == [[F, F, F, F, F, T], [F, F, F, F, F, T]]
    assert columns(rollout, "rewards") == [[1, 2, 0, 1, 2, 3], [10, 20, 30, 0, 10, 20]]
    assert rollout.observations[:, 0].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [1, 1, 0], [2, 1, 0]]
    assert rollout.observations[:, 1, 0].tolist() == [0, 1, 2, 3, 0, 1]
    assert rollout.num_steps == 10


def test_the_next_fragment_begins_where_the_last_one_ended():
    runner = runner_of()
    runner.sample()
    rollout = runner.sample()
    assert columns(rollout, "valid") == [[F, T, T, F, T, T], [F, T, T, T, F, T]]
    assert columns(rollout, "starts") == [[F, T, F, F, T, F], [F, T, F, F, F, T]]
    assert rollout.observations[0].tolist() == [[3, 1, 0], [2, 1, 1]]


@pytest.mark.parametrize("policy", [CARRIED, SEPARABLE], ids=["carried", "separable"])
def test_values_inputs_and_log_probabilities_are_the_networks(policy):
    """Recomputed step by step, the state zeroed where an episode starts; the last value is of what follows."""
    runner = runner_of(policy)
    rollout = runner.sample()
    network = runner.module.network
    assert network.is_separable == (policy is SEPARABLE)
    state = torch.zeros(2, network.state_size)
    seen = [*rollout.observations, runner._observations]
    starts = [*rollout.starts, runner._starts]
    for t, (observations, begins) in enumerate(zip(seen, starts, strict=True)):
        if t % 3 == 0 and t < 6 and network.state_size:
            np.testing.assert_allclose(rollout.states[t // 3], state.numpy(), atol=1e-6)
        with torch.no_grad():
            inputs, values, state = network(
                torch.from_numpy(observations)[None], state, torch.from_numpy(np.asarray(begins))[None]
            )
        np.testing.assert_allclose(rollout.values[t], values[0].numpy(), atol=1e-5)
        if t < 6:
            np.testing.assert_allclose(rollout.inputs[t], inputs[0].numpy(), atol=1e-5)
            logp = inputs[0].log_softmax(-1).numpy()[[0, 1], rollout.actions[t]]
            np.testing.assert_allclose(rollout.logp[t], logp, atol=1e-5)
    assert rollout.states.shape == ((2, 2, network.state_size) if network.state_size else (1, 2, 0))
    if network.state_size:
        assert np.abs(rollout.states[1]).max() > 0


def test_episodes_and_steps_are_reported_by_hand():
    """Two episodes of copy 0 (2 and 3 steps, returns 3 and 6) and two of copy 1 (3 and 2 steps, 60 and 30)."""
    runner = runner_of()
    runner.sample()
    metrics = runner.get_metrics()
    assert metrics["num_episodes"].peek() == 4
    assert metrics["episode_len_mean"].peek() == pytest.approx(2.5)
    assert metrics["episode_return_mean"].peek() == pytest.approx((3 + 6 + 60 + 30) / 4)
    assert (metrics["episode_return_min"].peek(), metrics["episode_return_max"].peek()) == (3, 60)
    assert metrics["num_env_steps_sampled"].peek() == 10
    seconds = metrics["seconds"]
    assert seconds["environment"].peek() > 0
    assert seconds["policy"].peek() > 0
    assert runner._seconds == {"environment": 0.0, "policy": 0.0}, "they are counted anew"


@pytest.mark.parametrize(("workers", "window"), [(0, 100), (1, 100), (3, 34), (200, 1)])
def test_the_newest_episodes_of_all_runners_together_are_a_hundred(workers, window):
    assert runner_of(workers=workers, worker=min(workers, 1))._window == window


def test_steps_are_counted_over_runners_and_from_where_the_run_stood():
    """A batch of 12 steps is 2 of each of two environments in three runners."""
    runner = runner_of(workers=3, worker=2)
    assert runner._steps_of_run(4) == 12
    assert runner.sample().num_steps == 4
    assert runner._steps_of_run(0) == 12
    assert runner.num_env_steps_sampled_lifetime == 4
    runner.reseed(500)
    assert runner._steps_of_run(0) == 500
    assert runner.sample().num_steps == 4
    assert runner._steps_of_run(1) == 500 + (4 + 1) * 3
    assert runner.num_env_steps_sampled_lifetime == 8


def test_of_whole_episodes_one_of_each_environment_is_valid():
    """They begin anew each time: first the copies' second episodes, of 3 and 2 steps, then those of 2 and 2."""
    runner = runner_of(SEPARABLE, Reinforce())
    for lengths in ([3, 2], [2, 2]):
        rollout = runner.sample()
        assert rollout.valid.sum(axis=0).tolist() == lengths
        assert rollout.num_steps == sum(lengths)
        assert rollout.starts[0].all()
        for n, length in enumerate(lengths):
            assert rollout.valid[:length, n].all()
            assert rollout.terminated[length - 1, n] or rollout.truncated[length - 1, n]
    assert runner.get_metrics()["num_episodes"].peek() == 4, "what goes on beside the longest one is not counted"


def test_runners_seeds_and_points_of_a_run_share_no_random_numbers():
    """With one seed for all runners, every runner would bring the same episodes."""

    def drawn(**place):
        steps = place.pop("steps", None)
        runner = runner_of(workers=2, **place)
        if steps:
            runner.reseed(steps)
        return [env.seeds[-1] for env in Scripted.made], runner.sample().actions.tolist()

    places = [{}, {"worker": 1}, {"worker": 2}, {"seed": 2}, {"steps": 10}]
    seeds, actions = zip(*(drawn(**place) for place in places), strict=True)
    every = [seed for of_one in seeds for seed in of_one]
    assert len(set(every)) == len(every) == 10
    assert all(2**31 <= seed < 2**32 for seed in every), "an evaluation's seeds are below"
    assert len({str(chosen) for chosen in actions}) > 1
    assert drawn() == (seeds[0], actions[0])


def test_environments_and_actions_have_seeds_of_their_own():
    runner = runner_of(worker=2, workers=2)
    expected = [seed | 2**31 for seed in draw_seeds(runner, 0, 3)]
    assert [env.seeds[-1] for env in Scripted.made] == expected[:2]
    assert runner._generator.initial_seed() == expected[2]


def test_a_vector_form_gets_one_seed_and_counts_up_from_it(monkeypatch):
    runner = runner_of()
    given = []

    class Form:
        def reset(self, seed):
            given.append(seed)
            return np.zeros((2, 3), np.float32), {}

    monkeypatch.setattr(runner, "env", Form())
    runner.reseed(7)
    assert given == [draw_seeds(runner, 7, 1)[0] | 2**31]


def test_new_weights_arrive_and_counters_are_kept():
    runner, other = runner_of(seed=1), runner_of(seed=2)
    runner.sample()
    state = runner.get_state()
    assert state["num_env_steps_sampled_lifetime"] == 10
    assert state["weights_seq_no"] == 0
    other.set_state({**state, "weights_seq_no": 3})
    assert other.num_env_steps_sampled_lifetime == 10
    assert other.get_state()["weights_seq_no"] == 3
    for name, value in runner.module.get_state().items():
        np.testing.assert_array_equal(other.module.get_state()[name], value)
    other.set_state({"rl_module": {"default_policy": runner.module.get_state()}})
    assert other.get_state()["weights_seq_no"] == 3, "kept where it is not told"
    assert set(runner.get_state(components=["nothing"])) == {"num_env_steps_sampled_lifetime"}
    assert runner.get_checkpointable_components() == [("rl_module", runner.module)]
    assert runner.get_ctor_args_and_kwargs() == ((), {"config": runner.config})


class Notes(RLlibCallback):
    """What a callback is told of each step."""

    def __init__(self):
        super().__init__()
        self.steps, self.samples = [], []

    def on_batched_step(self, *, env_runner, transition):
        self.steps.append(transition)

    def on_sample_end(self, *, env_runner, metrics_logger, samples, **kwargs):
        self.samples.append(samples)


def test_callbacks_see_every_step_and_every_fragment():
    runner = runner_of(callbacks=Notes)
    rollout = runner.sample()
    (notes,) = runner._callbacks
    assert len(notes.steps) == 6
    assert notes.samples == [rollout]
    for t, transition in enumerate(notes.steps):
        assert transition.rows.tolist() == [0, 1]
        for name in ("observations", "starts", "actions", "rewards", "valid"):
            np.testing.assert_array_equal(getattr(transition, name), getattr(rollout, name)[t], err_msg=name)


def test_actions_are_brought_to_the_environment_and_it_is_closed_at_the_end(monkeypatch):
    runner = runner_of()
    taken, step = [], runner.env.step
    monkeypatch.setattr(runner.env, "step", lambda actions: taken.append(np.array(actions)) or step(actions))
    rollout = runner.sample()
    np.testing.assert_array_equal(np.array(taken), rollout.actions)
    closed = []
    monkeypatch.setattr(runner.env, "close", lambda: closed.append(True))
    runner.stop()
    assert closed == [True]


def test_an_environment_made_anew_is_prepared_for_training_as_the_first_were(monkeypatch):
    runner, made = runner_of(), []
    monkeypatch.setattr(batched, "make_vector", lambda *given, **rest: made.append((given, rest)))
    monkeypatch.setattr(batched, "make_environment", lambda *given, **rest: made.append((given, rest)))
    monkeypatch.setattr(batched, "_cores", lambda: 5)
    monkeypatch.setattr(batched, "keep_going", lambda make_all, make_one: (make_all(), make_one()))
    runner.config = runner.config.copy(copy_frozen=False)
    runner.config.env_config = {"preprocessing": "frames", "length": 3}
    runner.make_env()
    assert made == [
        ((ENV_ID, {"preprocessing": "frames", "length": 3}, 2, 5), {}),
        ((ENV_ID, {"length": 3}, "frames"), {"training": True}),
    ]
    assert runner._env_reports_episodes is False


def test_a_runner_without_environments_or_module_is_not_healthy():
    runner = runner_of()
    runner.assert_healthy()
    runner.env, env = None, runner.env
    with pytest.raises(AssertionError):
        runner.assert_healthy()
    runner.env, runner.module = env, None
    with pytest.raises(AssertionError):
        runner.assert_healthy()


def test_whole_games_are_reported_by_environments_that_know_them(monkeypatch):
    """Where an episode of training is a part of a game: what the parts gave is not reported beside it."""
    runner = runner_of()
    runner._env_reports_episodes = True
    step = runner.env.step

    def step_with_games(actions):
        *rest, info = step(actions)
        game = {"l": np.array([7, 9]), "r": np.array([100.0, 200.0])}
        return *rest, {**info, "episode": game, "_episode": np.array([False, True])}

    monkeypatch.setattr(runner.env, "step", step_with_games)
    runner.sample()
    metrics = runner.get_metrics()
    assert metrics["num_episodes"].peek() == 6, "one in each of six steps"
    assert metrics["episode_len_mean"].peek() == 9
    assert metrics["episode_return_mean"].peek() == 200
