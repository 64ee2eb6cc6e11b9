import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical, TorchDiagGaussian
from torch.distributions import Categorical, Independent, Normal

from synrl_ray.sampling.distributions import choose_actions, logp_and_entropy

DISCRETE = spaces.Discrete(4)
BOX = spaces.Box(-1, 1, (3,), np.float32)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def discrete_case(*batch):
    return 3 * torch.randn(*batch, 4, generator=seeded()), torch.randint(4, batch, generator=seeded(1))


def box_case(*batch):
    return torch.randn(*batch, 6, generator=seeded()), torch.randn(*batch, 3, generator=seeded(1))


@pytest.mark.parametrize("batch", [(5,), (2, 5)], ids=["steps", "sequences"])
def test_discrete_equals_torch_and_rllib(batch):
    inputs, actions = discrete_case(*batch)
    logp, entropy = logp_and_entropy(DISCRETE, inputs, actions)
    assert logp.shape == entropy.shape == batch
    for other in (Categorical(logits=inputs), TorchCategorical.from_logits(inputs)):
        logp_of = other.log_prob if isinstance(other, Categorical) else other.logp
        torch.testing.assert_close(logp, logp_of(actions))
        torch.testing.assert_close(entropy, other.entropy())


@pytest.mark.parametrize("batch", [(5,), (2, 5)], ids=["steps", "sequences"])
def test_box_equals_torch_and_rllib(batch):
    inputs, actions = box_case(*batch)
    logp, entropy = logp_and_entropy(BOX, inputs, actions)
    assert logp.shape == entropy.shape == batch
    normal = Independent(Normal(inputs[..., :3], inputs[..., 3:].exp()), 1)
    torch.testing.assert_close(logp, normal.log_prob(actions))
    torch.testing.assert_close(entropy, normal.entropy())
    rllib = TorchDiagGaussian.from_logits(inputs)
    torch.testing.assert_close(logp, rllib.logp(actions))
    torch.testing.assert_close(entropy, rllib.entropy())


def test_numbers_by_hand():
    # Logits log 1, log 3: probabilities 1/4, 3/4.
    logp, entropy = logp_and_entropy(spaces.Discrete(2), torch.tensor([1.0, 3.0]).log(), torch.tensor(1))
    assert logp.item() == pytest.approx(np.log(0.75))
    assert entropy.item() == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))
    # One dimension, mean 1, standard deviation 2, action 5: two standard deviations off.
    one = spaces.Box(-1, 1, (1,), np.float32)
    logp, entropy = logp_and_entropy(one, torch.tensor([1.0, np.log(2.0)]), torch.tensor([5.0]))
    assert logp.item() == pytest.approx(-2.0 - np.log(2.0) - 0.5 * np.log(2 * np.pi))
    assert entropy.item() == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 4.0))


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
def test_drawn_actions_come_with_their_log_probability_and_the_seed_decides(space):
    inputs, _ = discrete_case(2, 50) if space is DISCRETE else box_case(2, 50)
    actions, logp = choose_actions(space, inputs, seeded())
    assert actions.shape == (2, 50, *space.shape)
    torch.testing.assert_close(logp, logp_and_entropy(space, inputs, actions)[0])
    again, _ = choose_actions(space, inputs, seeded())
    other, _ = choose_actions(space, inputs, seeded(1))
    assert torch.equal(actions, again)
    assert not torch.equal(actions, other)


def test_drawn_frequencies_are_the_softmax():
    logits = torch.tensor([-1.0, 0.0, 2.0, 0.5])
    num_draws = 40_000
    actions, _ = choose_actions(DISCRETE, logits.expand(num_draws, 4), seeded())
    assert actions.dtype == torch.int64
    p = logits.softmax(0)
    frequencies = torch.bincount(actions, minlength=4) / num_draws
    assert ((frequencies - p).abs() < 4 * (p * (1 - p) / num_draws).sqrt()).all()


def test_an_action_without_probability_is_never_drawn():
    logits = torch.tensor([0.0, -torch.inf, 0.0, -torch.inf]).expand(1000, 4)
    actions, logp = choose_actions(DISCRETE, logits, seeded())
    assert set(actions.tolist()) == {0, 2}
    torch.testing.assert_close(logp, torch.full((1000,), -np.log(2.0)).float())


def test_drawn_box_actions_have_the_mean_and_standard_deviation_asked_for():
    inputs = torch.tensor([1.0, -2.0, 0.0, np.log(0.5), np.log(2.0), 0.0], dtype=torch.float32).expand(40_000, 6)
    actions, _ = choose_actions(BOX, inputs, seeded())
    std = torch.tensor([0.5, 2.0, 1.0])
    assert ((actions.mean(0) - torch.tensor([1.0, -2.0, 0.0])).abs() < 4 * std / 200).all()
    torch.testing.assert_close(actions.std(0), std, rtol=0.02, atol=0)


@pytest.mark.parametrize(("space", "case"), [(DISCRETE, discrete_case), (BOX, box_case)], ids=["discrete", "box"])
def test_a_larger_log_probability_is_one_step_up_its_gradient(space, case):
    inputs, actions = case(4)
    inputs.requires_grad_()
    logp, _ = logp_and_entropy(space, inputs, actions)
    logp.sum().backward()
    after, _ = logp_and_entropy(space, inputs + 1e-3 * inputs.grad, actions)
    assert (after > logp).all()
