"""What the rules of the controls in ``benchmarks/timing_controls.py`` see, and what is left of it."""

import importlib.util
from pathlib import Path

import pytest
import torch
from gymnasium import spaces

from synrl_ray.experiment import RStdp

FOLDER = Path(__file__).parents[2] / "benchmarks"
K, N, I, O = 12, 300, 5, 2  # noqa: E741 (their names everywhere)
ACTION_STEP = 4


@pytest.fixture(scope="module")
def controls():
    spec = importlib.util.spec_from_file_location("timing_controls", FOLDER / "timing_controls.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seen(control):
    """Spikes as they were, ``[K, N, I]`` and ``[K, N, O]``, and as the rule sees them."""
    agent = control(spaces.Box(0, 1, (I,)), spaces.Discrete(O), RStdp(steps_per_observation=K))
    g = torch.Generator().manual_seed(0)
    pre, post = (torch.rand(K, N, I, generator=g) < 0.4).float(), torch.zeros(K, N, O)
    post[ACTION_STEP, :, 1] = 1
    return (pre, post), agent.seen(pre, post, g)


def test_times_are_lost_and_the_order_of_pairs_is_not(controls):
    (pre, post), (moved, same) = seen(controls.OrderKept)
    assert torch.equal(post, same)
    before = slice(0, ACTION_STEP + 1)
    assert torch.equal(moved[before].sum(0), pre[before].sum(0))
    assert torch.equal(moved.sum(0), pre.sum(0))
    again = (moved[before] * pre[before]).mean() / pre[before].mean()
    assert again == pytest.approx(0.4 + 0.6 / 5, abs=0.05)  # a spike's new place is any of five


def test_time_runs_backwards(controls):
    (pre, post), (turned, action) = seen(controls.OrderReversed)
    assert torch.equal(turned[2], pre[K - 3])
    assert action[:, 0].nonzero().tolist() == [[K - 1 - ACTION_STEP, 1]]
    assert torch.equal(post.sum(0), action.sum(0))


def test_half_of_the_observations_run_backwards_each_as_a_whole(controls):
    (pre, post), (mixed, action) = seen(controls.EitherDirection)
    turned = action[ACTION_STEP, :, 1] == 0
    assert 110 < turned.sum() < 190
    for spikes, found in ((pre, mixed), (post, action)):
        assert torch.equal(found[:, turned], spikes.flip(0)[:, turned])
        assert torch.equal(found[:, ~turned], spikes[:, ~turned])


def test_what_comes_after_the_action_counts_as_if_it_came_as_much_before_it(controls):
    (pre, post), (mirrored, same) = seen(controls.SymmetricWindow)
    assert torch.equal(post, same)
    assert torch.equal(mirrored[ACTION_STEP], pre[ACTION_STEP])
    for lag in range(1, ACTION_STEP + 1):
        either = (pre[ACTION_STEP - lag] + pre[ACTION_STEP + lag]).clamp(max=1)
        assert torch.equal(mirrored[ACTION_STEP - lag], either)
    assert not mirrored[ACTION_STEP + 1 :].any()


def test_a_constant_tag_knows_who_fired_only(controls):
    (pre, post), (together, action) = seen(controls.ConstantTag)
    assert torch.equal(together[-1], (pre.sum(0) > 0).float())
    assert torch.equal(action[-1], post.sum(0))
    assert not together[:-1].any()
