import copy
import math

import pytest
import torch

from synrl_ray.algorithms.on_policy.rmsprop import RMSpropTF


def parameter(*numbers):
    return torch.nn.Parameter(torch.tensor(numbers, dtype=torch.float64))


def step(optimizer, weight, *gradient):
    weight.grad = torch.tensor(gradient, dtype=weight.dtype)
    optimizer.step()


def test_two_steps_by_hand():
    weight = parameter(1.0, -1.0)
    optimizer = RMSpropTF([weight], lr=0.1, alpha=0.5, eps=0.25)
    step(optimizer, weight, 2.0, 0.5)
    # The average starts at one: 0.5 + 0.5 * 4 = 2.5 and 0.5 + 0.5 * 0.25 = 0.625.
    first = [1 - 0.1 * 2 / math.sqrt(2.75), -1 - 0.1 * 0.5 / math.sqrt(0.875)]
    assert weight.tolist() == pytest.approx(first)
    step(optimizer, weight, -1.0, 0.0)
    # 0.5 * 2.5 + 0.5 * 1 = 1.75; without gradient the weight stays and the average decays.
    assert weight.tolist() == pytest.approx([first[0] + 0.1 / math.sqrt(2.0), first[1]])
    assert optimizer.state[weight]["square_avg"].tolist() == pytest.approx([1.75, 0.3125])


def with_torchs(alpha, eps, gradient):
    """The step of both, from the same average of one."""
    ours, theirs = parameter(0.0), parameter(0.0)
    optimizer = RMSpropTF([ours], lr=1.0, alpha=alpha, eps=eps)
    other = torch.optim.RMSprop([theirs], lr=1.0, alpha=alpha, eps=eps)
    step(other, theirs, 0.0)  # creates the state
    other.state[theirs]["square_avg"].fill_(1.0)
    step(other, theirs, gradient)
    step(optimizer, ours, gradient)
    return -ours.item(), -theirs.item()


def test_epsilon_is_inside_the_root_and_torchs_outside():
    ours, theirs = with_torchs(alpha=0.0, eps=0.25, gradient=0.5)  # the average is 0.25
    assert ours == pytest.approx(0.5 / math.sqrt(0.25 + 0.25))
    assert theirs == pytest.approx(0.5 / (math.sqrt(0.25) + 0.25))


def test_without_epsilon_it_is_torchs_step_from_the_same_average():
    ours, theirs = with_torchs(alpha=0.9, eps=1e-30, gradient=0.5)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_small_gradients_make_smaller_steps_than_torchs():
    ours, theirs = with_torchs(alpha=0.0, eps=1e-5, gradient=1e-4)
    assert ours == pytest.approx(1e-4 / math.sqrt(1e-8 + 1e-5))
    assert ours < theirs / 10


def test_state_round_trip_continues_the_same_steps():
    weight = parameter(1.0, 2.0)
    optimizer = RMSpropTF([weight], lr=0.1, alpha=0.7, eps=0.01)
    step(optimizer, weight, 0.3, -0.2)
    restored_weight = parameter(*weight.tolist())
    restored = RMSpropTF([restored_weight], lr=9.0, alpha=0.0, eps=9.0)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in [(1.0, -0.5), (-2.0, 0.1)]:
        step(optimizer, weight, *gradient)
        step(restored, restored_weight, *gradient)
    assert torch.equal(weight, restored_weight)


def test_parameter_without_gradient_is_left_alone():
    weight, other = parameter(1.0), parameter(1.0)
    optimizer = RMSpropTF([weight, other], lr=0.1)
    step(optimizer, weight, 1.0)
    assert other.item() == 1.0
    assert other not in optimizer.state


def test_learning_rate_of_a_group_is_read_at_each_step():
    weight = parameter(1.0)
    optimizer = RMSpropTF([weight], lr=0.1)
    optimizer.param_groups[0]["lr"] = 0.0
    step(optimizer, weight, 1.0)
    assert weight.item() == 1.0
