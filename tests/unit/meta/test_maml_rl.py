"""MAML of policies: its meta-gradients, and what its settings do."""

import pytest
import torch
from torch import nn

from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.gridworlds import GridworldDistribution
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.meta.networks import mlp, spiking_mlp
from synrl_ray.settings.maml import MamlRl

TASKS = PlayedGridworlds(
    GridworldDistribution(
        rows=3, columns=3, horizon=6, rewards=GridworldRewards(shaping_scale=3.0, shaping_discount=0.9)
    )
)
BATCH = TASKS.sample("train", [3, 11, 5])


def make(kind="rectified", **settings):
    torch.manual_seed(0)
    if kind == "rectified":
        model: nn.Module = mlp(9, (5,), 4)
    elif kind == "tanh":  # goes through vmap
        model = nn.Sequential(nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 4))
    else:
        model = spiking_mlp(9, (5,), 4, num_steps=3)
    config = MamlRl(**{"inner_steps": 2, "episodes": 6, "inner_lr": 2.0, **settings})
    return MamlPolicy(model.double(), config, discount=0.9)


def gradients(maml, batch=BATCH, behaviour=None):
    maml.zero_grad()
    maml.meta_loss(batch, 0, behaviour)[0].backward()
    return [p.grad.clone() for p in maml.parameters() if p.requires_grad]


def assert_close(found, expected, tolerance=1e-9):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["rectified", "tanh"])
@pytest.mark.parametrize("outer", ["policy_gradient", "ppo"])
def test_meta_gradients_are_finite_differences_on_given_episodes(kind, outer):
    maml = make(kind, outer=outer)
    experience = maml.play(BATCH)
    maml.zero_grad()
    maml.losses(BATCH, experience).mean().backward()
    eps, largest = 1e-6, 0.0
    for p in maml.parameters():
        for i in range(0, p.numel(), max(1, p.numel() // 6)):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    p.view(-1)[i] += sign * eps
                    values.append(maml.losses(BATCH, experience).mean().item())
                    p.view(-1)[i] -= sign * eps
            found = p.grad.view(-1)[i].item()
            assert found == pytest.approx((values[0] - values[1]) / (2 * eps), abs=2e-8)
            largest = max(largest, abs(found))
    assert largest > 1e-3


@pytest.mark.parametrize("kind", ["rectified", "spiking"])
def test_tasks_together_and_one_at_a_time_have_the_same_gradients(kind):
    maml = make(kind)
    alone = [gradients(maml, TASKS.sample("train", [seed])) for seed in BATCH.seeds]
    assert_close(gradients(maml), [torch.stack(parts).mean(0) for parts in zip(*alone, strict=True)])


def test_first_order_is_another_gradient():
    found, first = gradients(make()), gradients(make(order="first"))
    assert max((a - b).abs().max() for a, b in zip(found, first, strict=True)) > 1e-3


def test_the_first_meta_step_of_ppo_has_the_gradient_of_the_policy_gradient():
    assert make(outer="ppo", ppo_epochs=4).epochs == 4
    assert make().epochs == 1
    assert_close(gradients(make(outer="ppo")), gradients(make()))


def test_later_meta_steps_learn_from_the_episodes_of_the_first():
    maml = make(outer="ppo")
    behaviour = {name: tensor.clone() for name, tensor in maml.state_dict().items()}
    first = gradients(maml)
    assert_close(gradients(maml, behaviour=behaviour), first)  # nothing has changed yet
    with torch.no_grad():
        for p in maml.parameters():
            p.add_(0.05)
    played, again = maml.play(BATCH, behaviour), make(outer="ppo").play(BATCH)
    for a, b in zip(played.policies, again.policies, strict=True):
        torch.testing.assert_close(a, b)
    later = gradients(maml, behaviour=behaviour)
    assert max((a - b).abs().max() for a, b in zip(later, first, strict=True)) > 1e-4


def test_inner_rates_are_learned_for_each_tensor_and_step():
    maml = make()
    assert [tuple(rate.shape) for rate in maml.rates] == [(2,)] * 4
    maml.meta_loss(BATCH, 0)[0].backward()
    assert all((rate.grad != 0).all() for rate in maml.rates)
    fixed = make(learn_inner_lr=False)
    fixed.meta_loss(BATCH, 0)[0].backward()
    assert all(rate.grad is None for rate in fixed.rates)


def test_steps_beyond_the_trained_ones_take_the_last_rate():
    maml = make()
    with torch.no_grad():
        for rate in maml.rates:
            rate[1] = 0.0
    policies = maml.play(BATCH, num_steps=4, judged=False).policies
    assert len(policies) == 5
    assert not torch.equal(policies[0], policies[1])
    assert torch.equal(policies[1], policies[2])
    assert torch.equal(policies[1], policies[4])


def test_each_step_and_judgement_has_episodes_of_its_own():
    maml = make(inner_lr=1e-12)  # so that the policy stays the same
    experience = maml.play(BATCH)
    tables = [played.visits for played in (*experience.support, *experience.query)]
    assert len({table.numpy().tobytes() for table in tables}) == 4
    assert all(played.env_steps.max() <= 36 for played in experience.support)


def test_adaptation_raises_the_probability_of_actions_that_gained():
    maml = make(inner_steps=1, inner_lr=0.1)
    experience = maml.play(BATCH)
    before, after = experience.policies
    summed = experience.support[0].gains + experience.support[0].losses
    assert ((summed * (after - before)).sum((1, 2)) > 0).all()


def test_a_policy_that_is_not_finite_names_its_task():
    maml = make()
    with torch.no_grad():
        maml.inner_rates[0].fill_(float("inf"))
    with pytest.raises(NonFiniteError, match=r"the policy is not finite \(task with seed 3, after 1 inner steps\)"):
        maml.meta_loss(BATCH, 0)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(UserError, match="no parameters that could adapt"):
        MamlPolicy(nn.ReLU(), MamlRl(), discount=0.9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner_lr": 0.0}, "inner_lr must be > 0"),
        ({"inner_lr": float("nan")}, "inner_lr must be finite"),
        ({"inner_steps": -1}, "inner_steps must be >= 0"),
        ({"episodes": 1}, "episodes must be >= 2"),
        ({"gae_lambda": 1.5}, "gae_lambda must be <= 1"),
        ({"ppo_clip": 1.0}, "ppo_clip must be < 1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MamlRl(**settings)
