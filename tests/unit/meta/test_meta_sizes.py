import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    AnnLearner,
    GridworldTasks,
    Maml,
    MamlRl,
    OmniglotTasks,
    SinusoidTasks,
    SpikingLearner,
)
from synrl_ray.meta import sizes
from synrl_ray.meta.families import family_of
from synrl_ray.meta.files import load_maml, save_maml
from synrl_ray.meta.judging import judge, judge_all
from synrl_ray.meta.networks import conv4, mlp, spiking_mlp
from synrl_ray.meta.policy_judging import judge_policies
from synrl_ray.meta.sinusoids import SinusoidDistribution
from synrl_ray.meta.sizes import numbers_per_task, tasks_at_once

GREEDY = {
    "steps": (SinusoidTasks(queries=10_000), SpikingLearner(hidden_sizes=(200,), steps_per_sample=1_000)),
    "maps": (OmniglotTasks(ways=1_000), AnnLearner(channels=(200, 1, 1, 1))),
}


def numbers_of(model):
    return sum(p.numel() for p in model.parameters())


def test_numbers_are_those_of_all_layers_and_of_three_copies_of_the_parameters():
    model = mlp(1, (5,), 2)
    assert numbers_per_task(model, 10) == 10 * (1 + 5 + 5 + 2) + 3 * numbers_of(model)
    model = spiking_mlp(1, (5,), 2, num_steps=7)
    assert numbers_per_task(model, 10, env_steps=3) == 7 * 10 * (1 + 5 + 5 + 2) + 3 * numbers_of(model) + 8 * 3
    model = conv4(ways=3, channels=2)
    maps = 2 * (28 * 28 + 14 * 14 + 7 * 7 + 12)
    assert numbers_per_task(model, 10, pixels=28 * 28) == 10 * (maps + 2 + 3) + 3 * numbers_of(model)


def test_tasks_are_as_many_as_fit_but_one_at_least():
    assert [tasks_at_once(numbers) for numbers in (0, 1, 2**27, 2**40)] == [50, 50, 8, 1]


@pytest.mark.parametrize("name", ["steps", "maps"])
def test_a_small_file_cannot_describe_a_large_task(tmp_path, name):
    tasks, learner = GREEDY[name]
    save_maml(family_of(tasks).meta_learner(learner, Maml()), learner, tasks, tmp_path)
    with pytest.raises(UserError, match=r"policy\.json is damaged \(each task takes [\d,]+ numbers at once, "):
        load_maml(tmp_path)


def test_neither_can_many_episodes(tmp_path):
    tasks, learner = GridworldTasks(horizon=100_000), AnnLearner(hidden_sizes=(2,))
    save_maml(family_of(tasks).meta_learner(learner, MamlRl(episodes=10_000)), learner, tasks, tmp_path)
    with pytest.raises(UserError, match="each task takes"):
        load_maml(tmp_path)


def test_judgement_does_not_depend_on_how_many_tasks_are_judged_together(monkeypatch):
    maml, tasks = family_of(SinusoidTasks()).meta_learner(AnnLearner(hidden_sizes=(4,)), Maml()), SinusoidDistribution()
    batch = tasks.sample("test", range(7))
    together = judge(maml, tasks, "test", 7, inner_steps=2)
    monkeypatch.setattr(sizes, "_MOST_TASKS", 3)
    for parts in (judge(maml, tasks, "test", 7, inner_steps=2), judge_all(maml, batch, inner_steps=2)):
        torch.testing.assert_close(parts.query_loss, together.query_loss)


def test_judgement_of_policies_does_not_depend_on_it_either(monkeypatch):
    settings = GridworldTasks(rows=4, columns=4)
    maml = family_of(settings).meta_learner(AnnLearner(hidden_sizes=(4,)), MamlRl(episodes=4))
    tasks = family_of(settings).distribution()
    together = judge_policies(maml, tasks, "test", 5, 2)
    monkeypatch.setattr(sizes, "_MOST_TASKS", 2)
    parts = judge_policies(maml, tasks, "test", 5, 2)
    torch.testing.assert_close(parts.greedy, together.greedy)
    assert torch.equal(parts.env_steps, together.env_steps)
