"""Meta-training in environments without Ray's runtime: determinism, shards, learning, files, what is refused."""

from dataclasses import replace

import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    AnnLearner,
    EnvironmentTasks,
    MamlRl,
    MetaEvaluation,
    MetaStopping,
    SpikingLearner,
    Uniform,
)
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.kinds.meta.kind import KIND
from synrl_ray.kinds.meta.printing import print_scores
from synrl_ray.meta.families import family_of
from synrl_ray.meta.files import load_maml
from synrl_ray.meta.return_judging import judge_returns
from synrl_ray.meta.sharding import Shard
from synrl_ray.meta.trainable import MetaTrainable
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

EXPERIMENT = replace(
    get_experiment("navigation-maml"),
    ann=AnnLearner(hidden_sizes=(8,)),
    spiking=SpikingLearner(hidden_sizes=(8,), steps_per_sample=2),
    stopping=MetaStopping(meta_iterations=4),
    evaluation=MetaEvaluation(tasks=5, inner_steps=2, interval=2, interim_tasks=2),
)
EXPERIMENT = replace(
    EXPERIMENT,
    tasks=replace(EXPERIMENT.tasks, horizon=10),
    algorithm=replace(
        EXPERIMENT.algorithm, meta_batch=4, maml=MamlRl(inner_steps=1, episodes=4, outer="ppo", ppo_epochs=2)
    ),
)


def trainable(policy="ann", experiment=EXPERIMENT, **settings):
    return MetaTrainable({"experiment": experiment, "policy": policy, "seed": 0, **settings})


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path, policy):
    whole, rest = trainable(policy), trainable(policy)
    assert whole.step()["meta_iterations"] == 2  # as many as lie between evaluations
    whole.save_checkpoint(str(tmp_path))
    rest.load_checkpoint(tmp_path)
    assert rest.step() == whole.step()
    for a, b in zip(rest.maml.parameters(), whole.maml.parameters(), strict=True):
        assert torch.equal(a, b)


def test_shards_of_a_meta_batch_add_up_to_it():
    shard = Shard(EXPERIMENT.tasks, EXPERIMENT.ann, EXPERIMENT.algorithm.maml)
    weights = {name: tensor.clone() for name, tensor in shard.maml.state_dict().items()}
    whole, *parts = (shard.gradients(weights, seeds, 0) for seeds in (range(6), range(0, 6, 2), range(1, 6, 2)))
    assert whole.figures["return"] == pytest.approx(sum(part.figures["return"] for part in parts), rel=1e-5)
    for together, *apart in zip(whole.gradients, *(part.gradients for part in parts), strict=True):
        torch.testing.assert_close(together, torch.stack(apart).sum(0), rtol=1e-4, atol=1e-5)


def test_a_run_leaves_returns_and_is_judged_again_alike(tmp_path, capsys):
    spec = RunSpec(experiment=EXPERIMENT, policy="ann", seed=0, num_workers=0)
    KIND.check(spec)
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    assert result.score == "mean_return"
    assert result.protocol["distinct_tasks"] == result.protocol["test_tasks"] == 5
    assert len(result.adaptation.by_step["mean_return"]) == len(result.adaptation.untrained["mean_return"]) == 3
    assert result.adaptation.env_steps[1] <= 40
    assert all(row["evaluation_mean_return"] < 0 for row in folder.metrics())
    assert evaluate_folder(folder.path).adaptation == result.adaptation
    print_scores(result)
    assert "5 test tasks of synrl_ray/Navigation-v0, goal_x, goal_y differ, 10 environment" in capsys.readouterr().out
    assert load_maml(folder.path)[2] == EXPERIMENT.tasks


def test_policies_learn_to_adapt_within_a_few_meta_iterations():
    """To goals that they have not seen; the initial policy can be no better than staying in the middle."""
    tasks = replace(EXPERIMENT.tasks, horizon=30)
    maml = MamlRl(inner_lr=0.1, inner_steps=1, episodes=8, outer="ppo", exploration=0.0, entropy=0.0)
    made = trainable(
        experiment=replace(
            EXPERIMENT,
            tasks=tasks,
            ann=AnnLearner(hidden_sizes=(16,)),
            stopping=MetaStopping(meta_iterations=100),
            algorithm=replace(EXPERIMENT.algorithm, maml=maml, meta_batch=8, meta_lr=1e-2),
        )
    )
    made.iterations_per_step = 30
    made.step()
    before, after = (
        judge_returns(made.maml, family_of(tasks).distribution(), "validation", 30, 1).greedy.mean(0).tolist()
    )
    assert after > 0.6 * before


def test_a_foreign_environment_of_somebody_elses_learner_needs_trust(tmp_path):
    tasks = EnvironmentTasks(id="nobodys_envs:Mine-v0", parameters={"x": Uniform(0, 1)})
    assert KIND.modules([replace(EXPERIMENT, tasks=tasks)]) == ["nobodys_envs"]
    own = EnvironmentTasks(id="CartPole-v1", sampler="my_tasks:Poles")
    assert KIND.modules([replace(EXPERIMENT, tasks=own)]) == ["my_tasks"]
    spec = RunSpec(experiment=EXPERIMENT, policy="ann", seed=0, num_workers=0)
    folder = RunFolder.create(tmp_path / "run", spec)
    train_run(folder, spec, KIND)
    description = folder.path / "policy.json"
    description.write_text(description.read_text().replace("synrl_ray/Navigation-v0", "nobodys_envs:Mine-v0"))
    with pytest.raises(UserError, match=r"asks to import the module 'nobodys_envs'.*add --trust"):
        evaluate_folder(folder.path)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"parameters": {"gravity": Uniform(1, 2)}}, "has no parameter 'gravity' — choose from goal_x, goal_y, "),
        ({"id": "Nowhere-v0"}, "unknown environment 'Nowhere-v0'"),
        ({"id": "CartPole-v1", "parameters": {"masscart": Uniform(1, 2)}}, "cannot be told apart by 'masscart'"),
    ],
)
def test_tasks_that_cannot_be_are_one_line_before_ray_starts(tasks, message):
    experiment = replace(EXPERIMENT, tasks=replace(EXPERIMENT.tasks, **tasks))
    with pytest.raises(UserError, match=message) as caught:
        KIND.check(RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_any_environment_is_a_family_from_the_command_line():
    ranges = '{"g": {"kind": "uniform", "low": 5, "high": 15}}'
    changes = ["tasks.id=Pendulum-v1", f"tasks.parameters={ranges}", "observation_scale=1,1,8", "horizon=20"]
    experiment = apply_overrides(EXPERIMENT, changes)
    assert experiment.target is None
    KIND.check(RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0))
    row = trainable(experiment=experiment).step()
    assert row["train_return"] < 0
