"""One learner's training without Ray's runtime: the same seed is the same run, resumed or not."""

from dataclasses import replace

import pytest
import torch

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.experiment import AnnLearner, Maml, SpikingLearner
from synrl_ray.meta.families import family_of
from synrl_ray.meta.judging import judge
from synrl_ray.meta.trainable import MAX_RUN_SEED, MetaTrainable
from synrl_ray.registry import get_experiment

EXPERIMENT = replace(
    get_experiment("sinusoid-maml"),
    ann=AnnLearner(hidden_sizes=(8,)),
    spiking=SpikingLearner(hidden_sizes=(8,), steps_per_sample=2),
)


def trainable(policy="ann", seed=0, **settings):
    algorithm = replace(EXPERIMENT.algorithm, meta_batch=4, **settings)
    made = MetaTrainable({"experiment": replace(EXPERIMENT, algorithm=algorithm), "policy": policy, "seed": seed})
    made.iterations_per_step = 5
    return made


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_the_same_seed_is_the_same_run(policy):
    first, second, other = trainable(policy), trainable(policy), trainable(policy, seed=1)
    rows = [made.step() for made in (first, second, other)]
    assert rows[0] == rows[1]
    assert rows[0]["loss"] != rows[2]["loss"]
    assert rows[0]["meta_iterations"] == 5


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, part, rest = trainable(), trainable(), trainable()
    whole.step()
    part.step()
    whole.shards.restarts = part.shards.restarts = 2  # as if workers had died
    part.save_checkpoint(str(tmp_path))
    rest.load_checkpoint(tmp_path)
    assert rest.step() == whole.step()
    assert rest.shards.restarts == 2
    for a, b in zip(rest.maml.parameters(), whole.maml.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_training_lowers_the_loss_on_tasks_that_it_has_not_seen():
    made = trainable(meta_lr=1e-2)
    made.iterations_per_step = 200

    def loss():
        tasks = family_of(EXPERIMENT.tasks).distribution()
        return judge(made.maml, tasks, "validation", num_tasks=100, inner_steps=3).query_loss[:, 3].mean().item()

    before = loss()
    made.step()
    assert loss() < 0.85 * before


def test_a_search_may_change_the_learning_rate():
    made = trainable()
    made.step()
    assert made.reset_config({"meta_lr": 0.5})
    assert made.step()["meta_lr"] == pytest.approx(0.5, rel=1e-3)


def test_a_step_ends_with_training():
    made = trainable()
    made.total = 3
    assert made.step()["meta_iterations"] == 3


def test_a_loss_that_is_not_finite_names_its_task():
    made = trainable(maml=Maml(inner_lr=1e30, inner_steps=3))
    with pytest.raises(NonFiniteError, match=r"task with seed \d"):
        made.step()


def test_seeds_do_not_reach_into_one_another():
    with pytest.raises(UserError, match="is too large for meta-learning"):
        trainable(seed=MAX_RUN_SEED)
