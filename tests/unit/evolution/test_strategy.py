import numpy as np
import pytest

from synrl_ray.errors import NonFiniteError
from synrl_ray.evolution.strategy import Strategy, centred_ranks, perturbation, shaped
from synrl_ray.experiment import OpenAiEs


def solved(settings, generations=150, seed=0):
    """The distance to the optimum of a quadratic with axes of different curvature, before and after."""
    optimum, curvature = np.linspace(-1, 1, 10), np.logspace(0, 1.5, 10)
    strategy = Strategy(settings, 10, seed)
    before = np.abs(strategy.genes - optimum).max()
    for generation in range(generations):
        moved = [strategy.sigma * perturbation(seed, generation, pair, 10) for pair in range(settings.num_pairs)]
        around = [(strategy.genes + each, strategy.genes - each) for each in moved]
        strategy.update(np.array([[[-np.sum(curvature * (x - optimum) ** 2)] for x in pair] for pair in around]))
    return before, np.abs(strategy.genes - optimum).max()


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.1), ("sgd", 0.05)])
def test_a_quadratic_is_solved(optimizer, lr):
    settings = OpenAiEs(
        num_pairs=32, optimizer=optimizer, lr=lr, lr_decay=0.98, sigma=0.1, sigma_decay=0.98, weight_decay=0.0
    )
    before, after = solved(settings)
    assert before > 0.5
    assert after < 0.05


def test_ranks_are_centred_and_equal_scores_share_theirs():
    ranks = centred_ranks(np.array([[10.0, -3.0], [4.0, 1e9]]))
    np.testing.assert_allclose(ranks, [[1 / 6, -1 / 2], [-1 / 6, 1 / 2]])
    assert centred_ranks(np.array([2.0, 1.0, 2.0, 2.0])).tolist() == pytest.approx([1 / 6, -1 / 2, 1 / 6, 1 / 6])
    assert not centred_ranks(np.full((3, 2), 7.0)).any()


def test_ranks_of_episodes_let_each_count_as_much_as_the_others():
    returns = np.array([[[400.0, 20.0], [390.0, 21.0]], [[0.0, 22.0], [0.0, 23.0]]])
    np.testing.assert_allclose(shaped(returns, "mean"), [[1 / 2, 1 / 6], [-1 / 2, -1 / 6]])
    by_episode = np.array([[[3, 0], [2, 1]], [[0.5, 2], [0.5, 3]]]) / 3 - 0.5
    np.testing.assert_allclose(shaped(returns, "episode"), by_episode.mean(2))


def test_a_step_by_hand():
    """Two pairs: ranks of 5, 1 | 2, 9 are 1/6, -1/2 | -1/6, 1/2, so that the differences are 2/3 and -2/3."""
    settings = OpenAiEs(num_pairs=2, optimizer="sgd", lr=0.5, sigma=0.25, weight_decay=0.1)
    strategy = Strategy(settings, 3, seed=4)
    first, second = (perturbation(4, 0, pair, 3).astype(float) for pair in (0, 1))
    before = strategy.genes.astype(float)
    gradient = (2 / 3 * first - 2 / 3 * second) / (2 * 2 * 0.25) - 0.1 * before
    norm = strategy.update(np.array([[[5.0], [1.0]], [[2.0], [9.0]]]))
    np.testing.assert_allclose(strategy.genes, before + 0.5 * gradient, rtol=1e-5)
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_adam_is_torchs():
    import torch

    settings = OpenAiEs(num_pairs=3, lr=0.05, weight_decay=0.0)
    strategy = Strategy(settings, 4, seed=1)
    weights = torch.nn.Parameter(torch.tensor(strategy.genes))
    adam = torch.optim.Adam([weights], lr=0.05, maximize=True)
    random = np.random.default_rng(0)
    for generation in range(5):
        scores = random.normal(size=(3, 2))
        ranks = centred_ranks(scores)
        noise = np.stack([perturbation(1, generation, pair, 4) for pair in range(3)])
        gradient = (ranks[:, 0] - ranks[:, 1]) @ noise / (6 * strategy.sigma)
        weights.grad = torch.tensor(gradient, dtype=torch.float32)
        strategy.update(scores[..., None])
        adam.step()
        np.testing.assert_allclose(strategy.genes, weights.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_a_perturbation_is_that_of_its_seed_generation_and_pair():
    drawn = perturbation(7, 11, 13, 1_000)
    assert (drawn == perturbation(7, 11, 13, 1_000)).all()
    assert (drawn[:10] == perturbation(7, 11, 13, 10)).all()
    assert abs(drawn.mean()) < 0.1
    assert drawn.std() == pytest.approx(1.0, abs=0.1)
    others = [perturbation(*at, 1_000) for at in ((8, 11, 13), (7, 12, 13), (7, 11, 14), (7, 13, 11))]
    assert all(abs(np.corrcoef(drawn, other)[0, 1]) < 0.15 for other in others)


def test_sigma_and_learning_rate_decay_to_where_they_stay():
    settings = OpenAiEs(sigma=0.2, sigma_decay=0.5, sigma_min=0.04, lr=0.1, lr_decay=0.5, lr_min=0.2)
    strategy = Strategy(settings, 1, seed=0)
    found = []
    for strategy.generation in range(4):
        found.append((strategy.sigma, strategy.lr))
    assert found == [(0.2, 0.1), (0.1, 0.1), (0.05, 0.1), (0.04, 0.1)]


def test_what_is_not_finite_ends_it_with_the_generation():
    strategy = Strategy(OpenAiEs(num_pairs=2), 3, seed=0)
    with pytest.raises(NonFiniteError, match="a return is not finite \\(in generation 0\\)"):
        strategy.update(np.array([[[1.0], [np.nan]], [[0.0], [0.0]]]))
