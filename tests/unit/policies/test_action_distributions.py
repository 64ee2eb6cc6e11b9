"""Action distributions against torch.distributions and RLlib's own. Legend: A actions or action dimensions."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchDiagGaussian,
    TorchMultiCategorical,
    TorchSquashedGaussian,
)
from torch import distributions as reference
from torch.distributions import Independent, TransformedDistribution
from torch.distributions.transforms import AffineTransform, TanhTransform

from synrl_ray.policies.actions.continuous import Beta, Gaussian, SquashedGaussian
from synrl_ray.policies.actions.discrete import Bernoulli, Categorical, EpsilonGreedyCategorical, MultiCategorical
from synrl_ray.policies.actions.table import action_distribution
from synrl_ray.rl_modules.action_distribution import rllib_distribution
from synrl_ray.settings.policies import AnnPolicy

A = 3
BOX = spaces.Box(-1, 1, (A,), np.float32)
NVEC = [2, 5, 3]
DISTRIBUTIONS = {
    "categorical": Categorical(spaces.Discrete(4)),
    "multi_categorical": MultiCategorical(spaces.MultiDiscrete(NVEC)),
    "bernoulli": Bernoulli(spaces.MultiBinary(A)),
    "gaussian": Gaussian(BOX),
    "gaussian_state": Gaussian(BOX, state_dependent_std=True),
    "squashed": SquashedGaussian(BOX),
    "beta": Beta(BOX),
}
REPARAMETRISED = ["gaussian", "squashed", "beta"]


def test_free_parameters_stand_behind_the_outputs_of_every_row():
    outputs, free = torch.randn(2, 4, A), torch.tensor([0.5, -1.0, 2.0])
    completed = DISTRIBUTIONS["gaussian"].complete(outputs, free)
    assert torch.equal(completed[..., :A], outputs)
    assert torch.equal(completed[..., A:], free.expand(2, 4, A))
    assert DISTRIBUTIONS["categorical"].complete(outputs, None) is outputs


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(name, *batch, dtype=torch.float64, spread=1.5):
    """Distribution inputs, and actions that the distribution itself has drawn."""
    distribution = DISTRIBUTIONS[name]
    inputs = (spread * torch.randn(*batch, distribution.num_inputs, generator=seeded(), dtype=torch.float64)).to(dtype)
    return inputs, distribution.sample(inputs, seeded(1))[0]


def torch_of(name, inputs):
    """The same distribution of torch's, over all action dimensions."""
    if name == "categorical":
        return reference.Categorical(logits=inputs)
    if name == "bernoulli":
        return Independent(reference.Bernoulli(logits=inputs), 1)
    first, second = inputs.chunk(2, dim=-1)
    if name == "beta":
        alpha, beta = (1 + torch.nn.functional.softplus(z) for z in (first, second))
        return Independent(TransformedDistribution(reference.Beta(alpha, beta), AffineTransform(-1, 2)), 1)
    normal = reference.Normal(first, second.exp())
    return Independent(TransformedDistribution(normal, TanhTransform()) if name == "squashed" else normal, 1)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["single", "double"])
@pytest.mark.parametrize("batch", [(50,), (4, 50)], ids=["steps", "sequences"])
@pytest.mark.parametrize("name", ["categorical", "bernoulli", "gaussian", "gaussian_state", "squashed", "beta"])
def test_log_probabilities_and_their_gradients_are_those_of_torch(name, batch, dtype, within):
    inputs, actions = drawn(name, *batch, dtype=dtype, spread=1.0)
    found, expected = (given.clone().requires_grad_() for given in (inputs, inputs.double()))
    logp, entropy = DISTRIBUTIONS[name].logp_and_entropy(found, actions)
    assert logp.shape == entropy.shape == batch
    assert logp.dtype == entropy.dtype == dtype
    wanted = torch_of(name, expected).log_prob(actions.double())
    torch.testing.assert_close(logp.double(), wanted, atol=within, rtol=within)
    logp.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=10 * within, rtol=10 * within)


@pytest.mark.parametrize("name", ["categorical", "bernoulli", "gaussian", "beta"])
def test_entropies_and_their_gradients_are_those_of_torch(name):
    inputs, actions = drawn(name, 50)
    found, expected = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    entropy = DISTRIBUTIONS[name].logp_and_entropy(found, actions)[1]
    if name == "beta":  # torch does not know that of a transformed one: twice as wide is log 2 more
        alpha, beta = (1 + torch.nn.functional.softplus(z) for z in expected.chunk(2, dim=-1))
        wanted = (reference.Beta(alpha, beta).entropy() + np.log(2)).sum(-1)
    else:
        wanted = torch_of(name, expected).entropy()
    torch.testing.assert_close(entropy, wanted, atol=1e-10, rtol=1e-10)
    entropy.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("mean", "log_std", "within"),
    [(0.0, -3.0, 1e-6), (0.4, -0.5, 1e-5), (-1.0, 0.0, 2e-4), (2.0, 1.0, 0.02), (0.0, 2.0, 0.3)],
)
def test_the_entropy_of_the_squashed_gaussian_is_the_integral(mean, log_std, within):
    u = torch.linspace(mean - 12 * np.exp(log_std), mean + 12 * np.exp(log_std), 400_001, dtype=torch.float64)
    density = reference.Normal(mean, np.exp(log_std)).log_prob(u).exp()
    slope = TanhTransform().log_abs_det_jacobian(u, None)
    expected = reference.Normal(mean, np.exp(log_std)).entropy() + torch.trapezoid(density * slope, u)
    one = SquashedGaussian(spaces.Box(-1, 1, (1,), np.float32))
    inputs = torch.tensor([[mean, log_std]], dtype=torch.float64, requires_grad=True)
    entropy = one.logp_and_entropy(inputs, torch.zeros(1, 1, dtype=torch.float64))[1]
    assert entropy.item() == pytest.approx(expected.item(), abs=within)
    entropy.backward()
    assert torch.isfinite(inputs.grad).all()
    assert inputs.grad.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["categorical", "multi_categorical", "bernoulli", "gaussian", "squashed", "beta"])
def test_divergences_are_those_of_torch(name):
    inputs, _ = drawn(name, 20)
    others = inputs.roll(1, 0)
    found = DISTRIBUTIONS[name].kl(inputs, others)
    if name == "multi_categorical":
        parts = zip(inputs.split(NVEC, -1), others.split(NVEC, -1), strict=True)
        expected = sum(
            reference.kl_divergence(torch_of("categorical", p), torch_of("categorical", q)) for p, q in parts
        )
    elif name in ("squashed", "beta"):  # of what is mapped, by one and the same invertible map
        bases = [torch_of(name, given).base_dist.base_dist for given in (inputs, others)]
        expected = reference.kl_divergence(*bases).sum(-1)
    else:
        expected = reference.kl_divergence(torch_of(name, inputs), torch_of(name, others))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    assert DISTRIBUTIONS[name].kl(inputs, inputs).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "rllib"),
    [
        ("categorical", TorchCategorical),
        ("multi_categorical", TorchMultiCategorical.get_partial_dist_cls(input_lens=NVEC)),
        ("gaussian", TorchDiagGaussian),
        ("squashed", TorchSquashedGaussian),
    ],
)
def test_values_are_those_of_rllib_where_it_has_them(name, rllib):
    inputs, actions = drawn(name, 6, 40, spread=0.7)
    distribution, other = DISTRIBUTIONS[name], rllib.from_logits(inputs)
    logp, entropy = distribution.logp_and_entropy(inputs, actions)
    inner = (actions.abs() < 0.999).all(-1) if name == "squashed" else torch.ones_like(logp, dtype=torch.bool)
    torch.testing.assert_close(logp[inner], other.logp(actions)[inner], atol=1e-6, rtol=1e-6)
    if (
        name != "squashed"
    ):  # RLlib has neither of it, and takes the mean before the tangent for its deterministic action
        torch.testing.assert_close(entropy, other.entropy())
        torch.testing.assert_close(
            distribution.kl(inputs, inputs.roll(1, 0)), other.kl(rllib.from_logits(inputs.roll(1, 0)))
        )
        torch.testing.assert_close(distribution.deterministic(inputs), other.to_deterministic().sample())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_drawn_actions_come_with_their_log_probability_and_the_seed_decides(name):
    distribution, (inputs, _) = DISTRIBUTIONS[name], drawn(name, 2, 50, dtype=torch.float32)
    actions, logp = distribution.sample(inputs, seeded())
    again, other = (distribution.sample(inputs, seeded(seed))[0] for seed in (0, 1))
    assert torch.equal(actions, again)
    assert not torch.equal(actions, other)
    kept = torch.from_numpy(actions.numpy().astype(np.float32)) if actions.is_floating_point() else actions
    torch.testing.assert_close(logp, distribution.logp_and_entropy(inputs, kept)[0], atol=1e-5, rtol=0)


def test_numbers_by_hand():
    # Logits log 1, log 3: probabilities 1/4, 3/4.
    two = Categorical(spaces.Discrete(2))
    logp, entropy = two.logp_and_entropy(torch.tensor([1.0, 3.0]).log(), torch.tensor(1))
    assert logp.item() == pytest.approx(np.log(0.75))
    assert entropy.item() == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))
    # One dimension, mean 1, standard deviation 2, action 5: two standard deviations off.
    one = spaces.Box(-1, 1, (1,), np.float32)
    logp, entropy = Gaussian(one).logp_and_entropy(torch.tensor([1.0, np.log(2.0)]), torch.tensor([5.0]))
    assert logp.item() == pytest.approx(-2.0 - np.log(2.0) - 0.5 * np.log(2 * np.pi))
    assert entropy.item() == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 4.0))
    # softplus(log(e - 1)) = 1, so that both shapes are 2: density 6 x (1 - x) = 1.5 in the middle, 0.75 of [-1, 1].
    z = torch.full((2,), np.log(np.e - 1))
    logp, _ = Beta(one).logp_and_entropy(z, torch.tensor([0.0]))
    assert logp.item() == pytest.approx(np.log(0.75))


def test_draws_are_those_of_multinomial_as_saved_policies_have_always_drawn_them():
    inputs, _ = drawn("categorical", 20_000, dtype=torch.float32)
    actions, _ = DISTRIBUTIONS["categorical"].sample(inputs, seeded(3))
    assert torch.equal(actions, torch.multinomial(inputs.softmax(-1), 1, generator=seeded(3)).squeeze(-1))
    inputs, _ = drawn("gaussian", 1000, dtype=torch.float32)
    actions, _ = DISTRIBUTIONS["gaussian"].sample(inputs, seeded(3))
    assert torch.equal(actions, torch.normal(inputs[:, :A], inputs[:, A:].exp(), generator=seeded(3)))


def test_drawn_frequencies_are_the_softmax():
    logits = torch.tensor([-1.0, 0.0, 2.0, 0.5])
    num_draws = 40_000
    actions, _ = DISTRIBUTIONS["categorical"].sample(logits.expand(num_draws, 4), seeded())
    assert actions.dtype == torch.int64
    p = logits.softmax(0)
    frequencies = torch.bincount(actions, minlength=4) / num_draws
    assert ((frequencies - p).abs() < 4 * (p * (1 - p) / num_draws).sqrt()).all()


@pytest.mark.parametrize("nothing", [-torch.inf, torch.finfo(torch.float32).min])
def test_an_action_without_probability_is_never_drawn(nothing):
    logits = torch.tensor([0.0, nothing, 0.0, nothing]).expand(1000, 4)
    actions, logp = DISTRIBUTIONS["categorical"].sample(logits, seeded())
    assert set(actions.tolist()) == {0, 2}
    torch.testing.assert_close(logp, torch.full((1000,), -np.log(2.0)).float())


def test_choices_and_bits_are_drawn_as_their_probabilities_say():
    num_draws, inputs = 40_000, torch.tensor([0.5, -1.0, 0.3])
    bits, _ = DISTRIBUTIONS["bernoulli"].sample(inputs.expand(num_draws, A), seeded())
    p = inputs.sigmoid()
    assert ((bits.float().mean(0) - p).abs() < 4 * (p * (1 - p) / num_draws).sqrt()).all()
    logits = torch.linspace(-1, 1, sum(NVEC))
    chosen, _ = DISTRIBUTIONS["multi_categorical"].sample(logits.expand(num_draws, -1), seeded())
    for i, part in enumerate(logits.split(NVEC)):
        p, frequencies = part.softmax(0), torch.bincount(chosen[:, i], minlength=len(part)) / num_draws
        assert ((frequencies - p).abs() < 4 * (p * (1 - p) / num_draws).sqrt()).all()


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_drawn_box_actions_have_the_moments_of_torch(name):
    inputs = torch.tensor([0.5, -2.0, 0.0, np.log(0.5), np.log(2.0), 0.0], dtype=torch.float32).expand(40_000, 6)
    actions, _ = DISTRIBUTIONS[name].sample(inputs, seeded())
    torch.manual_seed(1)
    expected = torch_of(name, inputs).sample()
    error = 6 * expected.std(0) / 200
    assert ((actions.mean(0) - expected.mean(0)).abs() < error).all()
    torch.testing.assert_close(actions.std(0), expected.std(0), rtol=0.03, atol=0)


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_gradients_pass_through_drawn_box_actions(name):
    inputs, _ = drawn(name, 5, spread=0.5)
    inputs.requires_grad_()
    DISTRIBUTIONS[name].sample(inputs, seeded())[0].sum().backward()
    assert (inputs.grad.abs() > 0).all()


@pytest.mark.parametrize("name", ["squashed", "beta"])
@pytest.mark.parametrize("size", [1.0, 12.0, 200.0])
def test_no_action_and_no_log_probability_leaves_its_bounds_however_large_the_outputs(name, size):
    distribution = DISTRIBUTIONS[name]
    inputs = size * torch.randn(500, 2 * A, generator=seeded())
    inputs = distribution.complete(inputs, None) if name == "squashed" else inputs  # deviations of at most e^2
    inputs.requires_grad_()
    actions, logp = distribution.sample(inputs, seeded())
    assert actions.abs().max() < 1
    edges = torch.ones(500, A)
    for chosen in (actions.detach(), edges, -edges, distribution.deterministic(inputs).detach()):
        logp, entropy = distribution.logp_and_entropy(inputs, chosen)
        assert torch.isfinite(logp).all()
        assert torch.isfinite(entropy).all()
        (grad,) = torch.autograd.grad((logp + entropy).sum(), inputs)
        assert torch.isfinite(grad).all()


def test_deterministic_actions_by_hand():
    z = float(np.log(np.e - 1))  # one more than softplus(z) is 2, one more than softplus(0) is 1 + log 2
    half = 1 + np.log(2)
    found = Beta(spaces.Box(-1, 1, (1,))).deterministic(torch.tensor([[z, z], [z, 0.0]], dtype=torch.float64))
    np.testing.assert_allclose(found.squeeze(-1), [0, 2 * 2 / (2 + half) - 1], atol=1e-12)
    outputs = torch.tensor([[0.3, -1.0, 9.0]])
    torch.testing.assert_close(DISTRIBUTIONS["gaussian"].deterministic(outputs), outputs)
    torch.testing.assert_close(DISTRIBUTIONS["squashed"].deterministic(outputs), outputs.tanh())
    assert DISTRIBUTIONS["bernoulli"].deterministic(outputs).tolist() == [[1, 0, 1]]
    logits = torch.tensor([[0, 1, 5, 0, 0, 0, 0, 0, 0, 2.0]])
    assert DISTRIBUTIONS["multi_categorical"].deterministic(logits).tolist() == [[1, 0, 2]]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_larger_log_probability_is_one_step_up_its_gradient(name):
    inputs, actions = drawn(name, 4)
    inputs.requires_grad_()
    logp, _ = DISTRIBUTIONS[name].logp_and_entropy(inputs, actions)
    logp.sum().backward()
    after, _ = DISTRIBUTIONS[name].logp_and_entropy(inputs + 1e-4 * inputs.grad, actions)
    assert (after > logp).all()


@pytest.mark.parametrize("name", ["beta", "squashed", "bernoulli", "multi_categorical"])
def test_rllib_asks_ours_where_it_has_none_itself(name):
    distribution, (inputs, actions) = DISTRIBUTIONS[name], drawn(name, 30)
    made = rllib_distribution(distribution, None).from_logits(inputs)
    logp, entropy = distribution.logp_and_entropy(inputs, actions)
    torch.testing.assert_close(made.logp(actions), logp)
    torch.testing.assert_close(made.entropy(), entropy)
    torch.testing.assert_close(made.to_deterministic().sample().to(actions), distribution.deterministic(inputs))
    other = rllib_distribution(distribution, None).from_logits(inputs.roll(1, 0))
    torch.testing.assert_close(made.kl(other), distribution.kl(inputs, inputs.roll(1, 0)))
    assert made.sample().shape == actions.shape


def test_rllib_keeps_its_own_where_they_are_the_same():
    assert rllib_distribution(DISTRIBUTIONS["gaussian"], TorchDiagGaussian) is TorchDiagGaussian
    assert rllib_distribution(DISTRIBUTIONS["categorical"], None) is None
    assert rllib_distribution(DISTRIBUTIONS["squashed"], TorchDiagGaussian) is not TorchDiagGaussian


def test_the_settings_choose():
    for name, kind in (("gaussian", Gaussian), ("beta", Beta), ("squashed_gaussian", SquashedGaussian)):
        assert type(action_distribution(BOX, AnnPolicy(action_distribution=name))) is kind
    free = action_distribution(BOX, AnnPolicy())
    assert (free.num_outputs, free.num_free, free.num_inputs) == (A, A, 2 * A)
    own = action_distribution(BOX, AnnPolicy(state_dependent_std=True))
    assert (own.num_outputs, own.num_free, own.num_inputs) == (2 * A, 0, 2 * A)
    bounded = own.complete(torch.tensor([[7.0, 7.0, 7.0, -30.0, 0.5, 30.0]]), None)
    assert bounded.tolist() == [[7.0, 7.0, 7.0, -5.0, 0.5, 2.0]]
    for space, kind in ((spaces.MultiDiscrete(NVEC), MultiCategorical), (spaces.MultiBinary(A), Bernoulli)):
        assert type(action_distribution(space, AnnPolicy())) is kind


# --- epsilon-greedy ------------------------------------------------------------------------------------------------


def epsilon_greedy(epsilon):
    distribution = EpsilonGreedyCategorical(spaces.Discrete(4))
    distribution.epsilon = epsilon
    return distribution


VALUES = torch.tensor([[0.5, 3.0, -1.0, 2.0], [4.0, torch.finfo(torch.float32).min, 1.0, 2.0]])
"""The second action of the second row is not allowed."""


def test_epsilon_greedy_probabilities_by_hand():
    distribution = epsilon_greedy(0.4)
    actions = torch.arange(4).expand(2, 4)
    logp, entropy = distribution.logp_and_entropy(VALUES.unsqueeze(1).expand(2, 4, 4), actions)
    expected = torch.tensor([[0.1, 0.7, 0.1, 0.1], [0.6 + 0.4 / 3, 0.0, 0.4 / 3, 0.4 / 3]])
    torch.testing.assert_close(logp.exp(), expected)
    torch.testing.assert_close(entropy[:, 0], torch.special.entr(expected).sum(-1))
    other = epsilon_greedy(0.0).logp_and_entropy(VALUES, VALUES.argmax(-1))
    assert [column.tolist() for column in other] == [[0.0, 0.0], [0.0, 0.0]]
    assert distribution.deterministic(VALUES).tolist() == [1, 0]
    torch.testing.assert_close(
        distribution.kl(VALUES, VALUES.flip(-1)[:, [1, 0, 2, 3]])[0], torch.tensor(0.6 * np.log(7.0)).float()
    )


def test_epsilon_greedy_draws_with_these_probabilities_and_nothing_that_is_not_allowed():
    drawn, logp = epsilon_greedy(0.4).sample(VALUES.repeat_interleave(20_000, 0), seeded())
    shares = torch.nn.functional.one_hot(drawn, 4).view(2, -1, 4).float().mean(1)
    expected = torch.tensor([[0.1, 0.7, 0.1, 0.1], [0.6 + 0.4 / 3, 0.0, 0.4 / 3, 0.4 / 3]])
    torch.testing.assert_close(shares, expected, rtol=0.0, atol=0.02)
    assert shares[1, 1] == 0
    torch.testing.assert_close(logp.exp(), expected.repeat_interleave(20_000, 0).gather(1, drawn[:, None])[:, 0])
    greedy, _ = epsilon_greedy(0.0).sample(VALUES.repeat_interleave(1000, 0), seeded())
    assert greedy.view(2, -1).unique(dim=1).tolist() == [[1], [0]]
