"""Meta-training of policies without Ray's runtime: determinism, PPO's epochs, learning, errors."""

from dataclasses import replace

import pytest
import torch

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.experiment import AnnLearner, GridworldTasks, Maml, MamlRl, MetaTraining, SpikingLearner
from synrl_ray.meta.families import family_of
from synrl_ray.meta.policy_judging import judge_policies
from synrl_ray.meta.sharding import Shard
from synrl_ray.meta.trainable import MetaTrainable
from synrl_ray.registry import get_experiment

EXPERIMENT = replace(
    get_experiment("gridworld-maml"),
    tasks=GridworldTasks(rows=4, columns=4, horizon=8),
    ann=AnnLearner(hidden_sizes=(8,)),
    spiking=SpikingLearner(hidden_sizes=(8,), steps_per_sample=2),
)


def trainable(policy="ann", experiment=EXPERIMENT, meta_batch=4, maml=None):
    algorithm = replace(experiment.algorithm, meta_batch=meta_batch, maml=maml or MamlRl(episodes=5))
    made = MetaTrainable({"experiment": replace(experiment, algorithm=algorithm), "policy": policy, "seed": 0})
    made.iterations_per_step = 3
    return made


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_the_same_seed_is_the_same_run(policy):
    rows = [trainable(policy).step() for _ in range(2)]
    assert rows[0] == rows[1]
    assert {"loss", "train_return", "gradient_norm", "meta_lr"} <= set(rows[0])


@pytest.mark.parametrize("outer", ["policy_gradient", "ppo"])
def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path, outer):
    maml = MamlRl(episodes=5, outer=outer)
    whole, rest = trainable(maml=maml), trainable(maml=maml)
    whole.step()
    whole.save_checkpoint(str(tmp_path))
    rest.load_checkpoint(tmp_path)
    assert rest.step() == whole.step()
    for a, b in zip(rest.maml.parameters(), whole.maml.parameters(), strict=True):
        assert torch.equal(a, b)


def test_ppo_takes_several_meta_steps_on_a_meta_batch():
    once, thrice = (trainable(maml=MamlRl(episodes=5, outer="ppo", ppo_epochs=epochs)) for epochs in (1, 3))
    rows = []
    for made in (once, thrice):
        made.iterations_per_step = 1
        rows.append(made.step())
    assert rows[0]["loss"] == rows[1]["loss"]
    steps = [made.optimizer.state_dict()["state"][0]["step"].item() for made in (once, thrice)]
    assert steps == [1, 3]


def test_shards_of_a_meta_batch_add_up_to_it():
    algorithm = EXPERIMENT.algorithm.maml
    shard = Shard(EXPERIMENT.tasks, EXPERIMENT.ann, algorithm)
    weights = {name: tensor.clone() for name, tensor in shard.maml.state_dict().items()}
    whole = shard.gradients(weights, range(6), 0)
    parts = [shard.gradients(weights, range(6)[w::2], 0) for w in range(2)]
    assert whole.loss == pytest.approx(sum(part.loss for part in parts), rel=1e-5)
    assert whole.figures["return"] == pytest.approx(sum(part.figures["return"] for part in parts), rel=1e-5)
    for together, *apart in zip(whole.gradients, *(part.gradients for part in parts), strict=True):
        torch.testing.assert_close(together, torch.stack(apart).sum(0), rtol=1e-4, atol=1e-5)


def test_rates_have_a_meta_learning_rate_that_a_search_leaves_alone():
    made = trainable()
    assert [group["lr"] for group in made.optimizer.param_groups] == [3e-3, 1e-2]
    made.reset_config({"meta_lr": 0.5})
    assert [group["lr"] for group in made.optimizer.param_groups] == [0.5, 1e-2]
    assert made.step()["meta_lr"] == pytest.approx(0.5, rel=1e-3)


def test_regret_after_adaptation_falls_below_half_of_that_before():
    """Within 100 meta-iterations; of the greedy policy, on goals that training never has."""
    experiment = replace(EXPERIMENT, tasks=GridworldTasks(rows=5, columns=5, horizon=12))
    made = trainable(
        experiment=replace(experiment, ann=AnnLearner(hidden_sizes=(32,))), maml=MamlRl(episodes=20), meta_batch=10
    )

    def regret():
        played = family_of(experiment.tasks).distribution()
        return judge_policies(made.maml, played, "validation", 60, 3).greedy.mean(0).tolist()

    untrained = regret()
    made.iterations_per_step = 100
    made.step()
    trained = regret()
    assert trained[0] > 0.8  # adaptation does the work
    assert trained[3] < 0.5 * trained[0]
    assert trained[3] < 0.7 * untrained[3]


def test_a_policy_that_is_not_finite_names_its_task():
    with pytest.raises(NonFiniteError, match=r"task with seed \d"):
        trainable(maml=MamlRl(episodes=5, inner_lr=3e38)).step()


def test_tasks_and_algorithms_that_are_not_for_one_another():
    experiment = replace(EXPERIMENT, algorithm=MetaTraining())
    with pytest.raises(UserError, match="'gridworlds' are not for this algorithm — they are learned by 'maml-rl'"):
        trainable(experiment=experiment, maml=Maml())
    with pytest.raises(UserError, match="'sinusoids' are not for this algorithm — they are learned by 'maml'"):
        trainable(experiment=replace(EXPERIMENT, tasks=get_experiment("sinusoid-maml").tasks))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"rows": 1}, "a grid of 1 x 7 cells is too small"),
        ({"num_obstacles": 60}, "num_obstacles=60 do not fit"),
        ({"start": (7, 0)}, r"the start \(7, 0\) is outside"),
        ({"rows": 2, "columns": 2}, "no goals are left for"),
    ],
)
def test_grids_that_cannot_be_are_named_in_one_line(tasks, message):
    with pytest.raises(UserError, match=message) as caught:
        trainable(experiment=replace(EXPERIMENT, tasks=GridworldTasks(**tasks)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"discount": 0.0}, {"horizon": 0}, {"shaping_scale": 0.0}, {"num_obstacles": -1}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} must be"):
        GridworldTasks(**setting)
