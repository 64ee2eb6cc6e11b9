from dataclasses import replace

import numpy as np
import pytest

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    AnnLearner,
    GridworldTasks,
    MamlRl,
    MetaEvaluation,
    MetaStopping,
    MetaTarget,
    SpikingLearner,
)
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.kinds.meta.kind import KIND
from synrl_ray.kinds.meta.printing import print_scores
from synrl_ray.kinds.meta.result import combine, reached
from synrl_ray.registry import get_experiment
from synrl_ray.results import Adaptation, Result, Training
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

EXPERIMENT = replace(
    get_experiment("sinusoid-maml"),
    ann=AnnLearner(hidden_sizes=(8,)),
    spiking=SpikingLearner(hidden_sizes=(8,), steps_per_sample=2),
    stopping=MetaStopping(meta_iterations=100),
    evaluation=MetaEvaluation(tasks=20, inner_steps=2, interval=50, interim_tasks=10),
)


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_a_run_leaves_its_files_and_is_judged_again_alike(tmp_path, policy, capsys):
    spec = RunSpec(experiment=EXPERIMENT, policy=policy, seed=0, num_workers=0)
    KIND.check(spec)
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    names = {path.name for path in folder.path.iterdir()}
    assert {"config.json", "metrics.jsonl", "result.json", "learning_curve.png", "policy.safetensors"} <= names
    losses = result.adaptation.by_step["loss"]
    assert len(losses) == 3
    interval = result.interval("loss")
    assert interval.low < result.figures["loss"] == losses[-1] < interval.high
    assert interval.over == "test tasks"
    assert np.mean(result.adaptation.tasks["loss"]) == pytest.approx(losses[-1])
    assert len(result.adaptation.tasks["loss"]) == result.protocol["test_tasks"] == 20
    assert folder.result() == result
    assert [row["meta_iterations"] for row in folder.metrics()] == [50, 100]
    again = evaluate_folder(folder.path)
    assert again.adaptation == result.adaptation
    assert len(result.adaptation.untrained["loss"]) == 3
    assert evaluate_folder(folder.path, episodes=5).protocol["test_tasks"] == 5
    assert evaluate_folder(folder.path, episodes=5, shots=3).protocol["trained_on"] == "10 samples"
    with pytest.raises(UserError, match="--support-statistics means nothing for a learner without batch norm"):
        evaluate_folder(folder.path, support_statistics=True)
    print_scores(replace(again, protocol={**again.protocol, "query_statistics": "support"}))
    assert "2 inner steps, queries normalised by their support set" in capsys.readouterr().out
    print_scores(again)
    out = capsys.readouterr().out
    assert "20 test tasks of sinusoids, 10 samples, 2 inner steps;" in out
    assert "loss of a new network" in out
    with pytest.raises(UserError, match="--episodes 1 is too small"):
        evaluate_folder(folder.path, episodes=1)
    with pytest.raises(UserError, match="--seed means nothing"):
        evaluate_folder(folder.path, seed=1)
    with pytest.raises(UserError, match="--video means nothing"):
        evaluate_folder(folder.path, video=tmp_path / "x.mp4")
    (folder.path / "config.json").unlink()  # as where a learner alone is handed on
    assert evaluate_folder(folder.path).adaptation == result.adaptation
    description = folder.path / "policy.json"
    description.write_text(description.read_text().replace('"inner_steps": 2', '"inner_steps": -2'))
    with pytest.raises(UserError, match=r"policy\.json is damaged"):
        evaluate_folder(folder.path)


def test_a_run_of_policies_leaves_regrets_and_two_pictures(tmp_path, capsys):
    experiment = get_experiment("gridworld-maml")
    experiment = replace(
        experiment,
        tasks=GridworldTasks(rows=4, columns=4, horizon=8, num_obstacles=1, shared_obstacles=True),
        ann=AnnLearner(hidden_sizes=(8,)),
        algorithm=replace(experiment.algorithm, maml=MamlRl(inner_steps=2, episodes=5), meta_batch=4),
        stopping=MetaStopping(meta_iterations=100),
        evaluation=MetaEvaluation(tasks=20, inner_steps=2, interval=50, interim_tasks=10),
    )
    spec = RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0)
    KIND.check(spec)
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    names = {path.name for path in folder.path.iterdir()}
    assert {"result.json", "learning_curve.png", "adaptation.png", "inner_steps.png", "policy.safetensors"} <= names
    by_step, untrained = result.adaptation.by_step, result.adaptation.untrained
    for name in ("regret", "regret_stochastic"):
        assert len(by_step[name]) == len(untrained[name]) == 5
        assert result.figures[name] == by_step[name][2]
        assert np.mean(result.adaptation.tasks[name]) == pytest.approx(by_step[name][2])
    assert by_step["regret_stochastic"][0] > 0.5  # before adaptation
    assert list(result.adaptation.env_steps) == sorted(result.adaptation.env_steps)
    assert result.target.bounds == {"regret": 0.05}
    assert result.target.at_end == (result.figures["regret"] <= 0.05)
    assert all(row["evaluation_regret"] >= 0 for row in folder.metrics())
    again = evaluate_folder(folder.path)
    assert again.adaptation == result.adaptation
    with pytest.raises(UserError, match="--shots means nothing for a learner that plays"):
        evaluate_folder(folder.path, shots=3)
    with pytest.raises(UserError, match="--support-statistics means nothing for a learner that plays"):
        evaluate_folder(folder.path, support_statistics=True)
    print_scores(result)
    assert "Untrained" in (out := capsys.readouterr().out)
    assert "20 test tasks (3 distinct) of gridworlds, 4 x 4 cells, 1 obstacles, shaped reward, 2 inner steps" in out
    combined = combine([result, result], spec)
    assert combined.adaptation.by_step == by_step
    assert combined.per_seed["regret"] == (result.figures["regret"],) * 2
    assert combined.adaptation.untrained == untrained
    assert combined.interval("regret").over == "seeds and distinct tasks"


def seed_result(seed=0, **figures):
    return Result(
        experiment="x",
        policy="ann",
        score=next(iter(figures)),
        figures=figures,
        protocol={},
        training=(Training(seed=seed, unit="meta_iterations", steps=1, wall_seconds=1.0),),
        adaptation=Adaptation(by_step={name: (2.0, value) for name, value in figures.items()}),
    )


def test_seeds_are_combined():
    experiment = replace(EXPERIMENT, target=MetaTarget(accuracy=0.95, source="a test"))
    spec = RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0)
    combined = combine([seed_result(0, accuracy=0.9, loss=1.0), seed_result(1, accuracy=1.0, loss=1.0)], spec)
    assert combined.figures == {"accuracy": pytest.approx(0.95), "loss": 1.0}
    assert combined.per_seed["accuracy"] == (0.9, 1.0)
    assert combined.adaptation.by_step["accuracy"] == pytest.approx((2.0, 0.95))
    assert (combined.target.at_end, combined.target.in_training) == (1, None)


def test_the_interval_of_seeds_is_that_of_their_mean():
    """One of eight seeds fails: the interquartile mean of most resamples is 0, the mean is not."""
    spec = RunSpec(experiment=EXPERIMENT, policy="ann", seed=0, num_workers=0)
    combined = combine([seed_result(seed, loss=float(seed == 7)) for seed in range(8)], spec)
    interval = combined.interval("loss")
    assert combined.figures["loss"] == 0.125
    assert (interval.low, interval.high) == (0.0, 0.375)


def test_a_target_may_be_a_loss():
    assert reached(MetaTarget(loss=0.5, source="a test"), seed_result(loss=0.4))
    assert not reached(MetaTarget(loss=0.5, source="a test"), seed_result(loss=0.6))
    assert reached(MetaTarget(regret=0.05, source="a test"), seed_result(regret=0.05))
    assert not reached(MetaTarget(regret=0.05, source="a test"), seed_result(regret=0.06))
    assert reached(MetaTarget(mean_return=-2.0, source="a test"), seed_result(mean_return=-1.0))
    assert not reached(MetaTarget(mean_return=-2.0, source="a test"), seed_result(mean_return=-4.0))


def test_adaptation_that_diverges_leaves_a_row_without_a_loss(monkeypatch):
    settings = replace(EXPERIMENT.algorithm, maml=replace(EXPERIMENT.algorithm.maml, inner_lr=1e30))
    experiment = replace(EXPERIMENT, algorithm=settings)
    trainer = KIND.start(RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0))
    assert trainer.evaluate() == {"evaluation_loss": None}
