from dataclasses import replace

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
    assert len(result["loss_by_step"]) == 3
    low, high = result["loss_ci95"]
    assert low < result["loss"] == result["loss_by_step"][-1] < high
    assert result["protocol"]["test_tasks"] == 20
    assert [row["meta_iterations"] for row in folder.metrics()] == [50, 100]
    again = evaluate_folder(folder.path)
    assert again["loss_by_step"] == result["loss_by_step"]
    assert again["untrained"] == result["untrained"]
    assert len(result["untrained"]["loss_by_step"]) == 3
    assert evaluate_folder(folder.path, episodes=5)["protocol"]["test_tasks"] == 5
    assert evaluate_folder(folder.path, episodes=5, shots=3)["protocol"]["trained_on"] == "10 samples"
    print_scores(again)
    out = capsys.readouterr().out
    assert "20 test tasks of sinusoids, 10 samples, 2 inner steps" in out
    assert "loss of a new network" in out
    with pytest.raises(UserError, match="--episodes 1 is too small"):
        evaluate_folder(folder.path, episodes=1)
    with pytest.raises(UserError, match="--seed means nothing"):
        evaluate_folder(folder.path, seed=1)
    with pytest.raises(UserError, match="--video means nothing"):
        evaluate_folder(folder.path, video=tmp_path / "x.mp4")
    (folder.path / "config.json").unlink()  # as where a learner alone is handed on
    assert evaluate_folder(folder.path)["loss_by_step"] == result["loss_by_step"]
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
    assert {"result.json", "learning_curve.png", "adaptation.png", "policy.safetensors"} <= names
    for figures in (result, result["untrained"]):
        for name in ("regret", "regret_stochastic"):
            assert len(figures[f"{name}_by_step"]) == 5
            assert figures[name] == figures[f"{name}_by_step"][2]
    assert result["regret_stochastic_by_step"][0] > 0.5  # before adaptation
    assert result["env_steps_by_step"] == sorted(result["env_steps_by_step"])
    assert result["target_reached"] == (result["regret"] <= 0.05)
    assert all(row["evaluation_regret"] >= 0 for row in folder.metrics())
    again = evaluate_folder(folder.path)
    assert again["regret_by_step"] == result["regret_by_step"]
    assert again["untrained"] == result["untrained"]
    with pytest.raises(UserError, match="--shots means nothing for a learner that plays"):
        evaluate_folder(folder.path, shots=3)
    print_scores(result)
    assert "Untrained" in (out := capsys.readouterr().out)
    assert "20 test tasks of gridworlds, 4 x 4 cells, 1 obstacles, shaped reward, 2 inner steps" in out
    combined = combine([result, result], spec)
    assert combined["regret_stochastic_by_step"] == result["regret_stochastic_by_step"]
    assert combined["regret_per_seed"] == [result["regret"]] * 2
    assert combined["untrained"] == result["untrained"]
    assert "over seeds" in combined["protocol"]["interval"]


def test_seeds_are_combined():
    def result(seed, accuracy):
        return {
            "experiment": "x", "policy": "ann", "seed": seed, "meta_iterations": 1, "wall_seconds": 1.0,
            "accuracy": accuracy, "accuracy_by_step": [0.2, accuracy], "loss": 1.0, "loss_by_step": [2.0, 1.0],
            "protocol": {}, "versions": {},
        }  # fmt: skip

    experiment = replace(EXPERIMENT, target=MetaTarget(accuracy=0.95, source="a test"))
    spec = RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0)
    combined = combine([result(0, 0.9), result(1, 1.0)], spec)
    assert combined["accuracy"] == pytest.approx(0.95)
    assert combined["accuracy_per_seed"] == [0.9, 1.0]
    assert combined["accuracy_by_step"] == pytest.approx([0.2, 0.95])
    assert combined["seeds_that_end_at_target"] == 1


def test_a_target_may_be_a_loss():
    assert reached(MetaTarget(loss=0.5, source="a test"), {"loss": 0.4})
    assert not reached(MetaTarget(loss=0.5, source="a test"), {"loss": 0.6})
    assert reached(MetaTarget(regret=0.05, source="a test"), {"regret": 0.05})
    assert not reached(MetaTarget(regret=0.05, source="a test"), {"regret": 0.06})


def test_adaptation_that_diverges_leaves_a_row_without_a_loss(monkeypatch):
    settings = replace(EXPERIMENT.algorithm, maml=replace(EXPERIMENT.algorithm.maml, inner_lr=1e30))
    experiment = replace(EXPERIMENT, algorithm=settings)
    trainer = KIND.start(RunSpec(experiment=experiment, policy="ann", seed=0, num_workers=0))
    assert trainer.evaluate() == {"evaluation_loss": None}
