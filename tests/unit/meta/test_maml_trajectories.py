"""MAML by trajectories: its meta-gradients, and what its settings do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from synrl_ray.errors import NonFiniteError
from synrl_ray.experiment import AnnLearner, EnvironmentTasks, MamlRl, SpikingLearner, Uniform
from synrl_ray.meta.families import family_of
from synrl_ray.meta.return_judging import judge_returns

NAVIGATION = EnvironmentTasks(
    id="synrl_ray/Navigation-v0",
    parameters={"goal_x": Uniform(-0.5, 0.5), "goal_y": Uniform(-0.5, 0.5)},
    horizon=8,
    observation_scale=(0.5,),
)
CARTPOLE = EnvironmentTasks(id="CartPole-v1", parameters={"length": Uniform(0.1, 3.0)}, horizon=12)
SETTINGS = {"inner_steps": 2, "episodes": 3, "inner_lr": 0.3, "exploration": 0.1, "entropy": 0.05}


def make(tasks=NAVIGATION, learner=None, **settings):
    torch.manual_seed(0)
    maml = family_of(tasks).meta_learner(learner or AnnLearner(hidden_sizes=(5,)), MamlRl(**{**SETTINGS, **settings}))
    return maml.double()


def batch(seeds=(3, 11, 5), tasks=NAVIGATION):
    return family_of(tasks).distribution().sample("train", seeds)


def gradients(maml, tasks, behaviour=None):
    maml.zero_grad()
    maml.meta_loss(tasks, 0, behaviour)[0].backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in maml.parameters() if p.requires_grad]


def assert_close(found, expected, tolerance=1e-9):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("tasks", [NAVIGATION, CARTPOLE], ids=["continuous", "discrete"])
@pytest.mark.parametrize("outer", ["policy_gradient", "ppo"])
def test_meta_gradients_are_finite_differences_on_given_episodes(tasks, outer):
    maml, drawn = make(tasks, outer=outer), batch(tasks=tasks)
    with torch.no_grad():
        for p in maml.model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    experience = maml.play(drawn)
    maml.zero_grad()
    maml.losses(drawn, experience).mean().backward()
    eps, largest = 1e-6, 0.0
    for p in maml.parameters():
        for i in range(0, p.numel(), max(1, p.numel() // 5)):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    p.view(-1)[i] += sign * eps
                    values.append(maml.losses(drawn, experience).mean().item())
                    p.view(-1)[i] -= sign * eps
            found = p.grad.view(-1)[i].item()
            assert found == pytest.approx((values[0] - values[1]) / (2 * eps), abs=5e-8)
            largest = max(largest, abs(found))
    assert largest > 1e-3


def test_an_inner_step_is_a_step_of_the_policy_gradient_by_autograd():
    maml, drawn = make(inner_steps=1), batch((4,))
    experience = maml.play(drawn)
    played, (before, after) = experience.support[0], experience.policies
    leaves = {name: p[0].detach().clone().requires_grad_() for name, p in before.items()}
    outputs = torch.func.functional_call(maml.model, leaves, (played.seen[0],))
    mean, log_deviation = outputs[..., :2], outputs[..., 2:]
    log_prob = torch.distributions.Normal(mean, log_deviation.exp()).log_prob(played.targets[0, :, :2]).sum(-1)
    loss = -(played.targets[0, :, 2] * log_prob).sum()
    for name, g in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
        torch.testing.assert_close(after[name][0], leaves[name].detach() - 0.3 * g)


@pytest.mark.parametrize("learner", [AnnLearner(hidden_sizes=(5,)), SpikingLearner(hidden_sizes=(6,), population=5)])
def test_tasks_together_and_one_at_a_time_have_the_same_gradients(learner):
    maml = make(learner=learner)
    alone = [gradients(maml, batch((seed,))) for seed in (3, 11, 5)]
    assert_close(gradients(maml, batch()), [torch.stack(parts).mean(0) for parts in zip(*alone, strict=True)])


def test_orders_are_other_gradients():
    found = {order: gradients(make(order=order), batch()) for order in ("second", "first")}
    assert max((a - b).abs().max() for a, b in zip(*found.values(), strict=True)) > 1e-4


def test_reptiles_gradient_leads_to_the_adapted_parameters():
    maml, drawn = make(order="reptile", learn_inner_lr=False), batch()
    found, policies = gradients(maml, drawn), maml.play(drawn).policies
    for g, name in zip(found, maml.adapting, strict=True):
        torch.testing.assert_close(g, (policies[0][name] - policies[-1][name]).mean(0) / 0.3)
    with pytest.raises(ValueError, match="order='reptile' has no gradient for inner rates: set learn_inner_lr=false"):
        MamlRl(order="reptile")


def test_with_anil_only_the_head_adapts():
    maml = make(anil=True)
    assert maml.adapting == ("2.weight", "2.bias", "2.log_deviation")
    first, last = (maml.play(batch()).policies[i] for i in (0, -1))
    assert torch.equal(first["0.weight"], last["0.weight"])
    assert all((first[name] != last[name]).any() for name in maml.adapting)
    assert all(g.abs().max() > 0 for g in gradients(maml, batch()))


def test_without_inner_steps_it_is_ppo_over_tasks():
    maml, drawn = make(inner_steps=0, outer="ppo", entropy=0.0), batch()
    experience = maml.play(drawn)
    assert (len(experience.policies), len(experience.support), len(experience.query)) == (1, 0, 1)
    assert all(g.abs().max() > 0 for g in gradients(maml, drawn)[:5])
    judged = judge_returns(maml, family_of(NAVIGATION).distribution(), "test", 4, 2)  # and may adapt all the same
    assert judged.greedy.shape == (4, 3)
    assert (judged.greedy[:, 0] != judged.greedy[:, 1]).all()


def test_later_meta_steps_learn_from_the_episodes_of_the_first():
    maml, drawn = make(outer="ppo"), batch()
    behaviour = {name: tensor.clone() for name, tensor in maml.state_dict().items()}
    first = gradients(maml, drawn)
    assert_close(gradients(maml, drawn, behaviour), first)  # nothing has changed yet
    with torch.no_grad():
        for p in maml.parameters():
            p.add_(0.05)
    played, again = maml.play(drawn, behaviour), make(outer="ppo").play(batch())
    assert_close([p.returns for p in played.query], [p.returns for p in again.query])
    later = gradients(maml, drawn, behaviour)
    assert max((a - b).abs().max() for a, b in zip(later, first, strict=True)) > 1e-4


def test_a_policy_that_is_not_finite_names_its_task():
    maml = make()
    with torch.no_grad():
        maml.inner_rates[0].fill_(float("inf"))
    with pytest.raises(NonFiniteError, match=r"the policy is not finite \(task with seed 3, after 1 inner steps\)"):
        maml.meta_loss(batch(), 0)


def test_any_model_goes_through_vmap():
    maml = make()
    own = type(maml)(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4)).double(), maml.config, 0.9, maml.head)
    assert all(torch.isfinite(g).all() for g in gradients(own, batch()))


def test_judging_is_the_same_whatever_is_judged_together():
    maml, tasks = make(), family_of(replace(NAVIGATION, horizon=5)).distribution()
    few, more = (judge_returns(maml, tasks, "test", count, 1) for count in (2, 5))
    torch.testing.assert_close(few.greedy, more.greedy[:2])
    assert few.env_steps.tolist()[0][0] == 0
    assert (few.env_steps[:, 1] <= 15).all()
