"""A run of evolution from its start to its result, in this process."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    AnnHebbian,
    Environment,
    Evaluation,
    EvolutionExperiment,
    EvolutionStopping,
    OpenAiEs,
    ReturnTarget,
    SpikingHebbian,
)
from synrl_ray.kinds import kind_named
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.policies.loading import load_policy
from synrl_ray.results import differences
from synrl_ray.running.kind import Outcome
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import TrainingRun, train_run

KIND = kind_named("evolution")
EXPERIMENT = EvolutionExperiment(
    id="small",
    summary="A pole that is kept upright for a while",
    environment=Environment(
        id="synrl_ray/ChangingCartPole-v0",
        kwargs={"bodies": [["intact", "intact"]], "max_episode_steps": 60},
        num_envs=32,
    ),
    ann=AnnHebbian(hidden_sizes=(4,)),
    spiking=SpikingHebbian(hidden_sizes=(4,)),
    algorithm=OpenAiEs(num_pairs=8, num_episodes=1, sigma=0.3),
    stopping=EvolutionStopping(env_steps=4_000),
    evaluation=Evaluation(episodes=6, interim_episodes=3, interval_steps=1_000),
    held_out={"bodies": [["long", "weak"]], "earliest": 5, "latest": 5},
    target=ReturnTarget(mean_return=1.0, source="whatever stands for a step"),
)


def spec(**changes):
    given = {"experiment": EXPERIMENT, "policy": "ann", "seed": 0, "num_workers": 0}
    return RunSpec(**given | changes)


def with_environment(**changes):
    return replace(EXPERIMENT, environment=replace(EXPERIMENT.environment, **changes))


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_a_run_gets_better_is_judged_with_its_controls_and_judged_again(policy, tmp_path, capsys):
    folder = RunFolder.create(tmp_path / "run", spec(policy=policy))
    result = train_run(folder, spec(policy=policy), KIND)
    rows = folder.metrics()
    assert [row["generation"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["return_mean"] > rows[0]["return_mean"]
    assert rows[-1]["env_steps"] >= 4_000 > rows[-2]["env_steps"]
    figures = result.figures
    assert {f"{way}return_iqm" for way in ("", "zeroed_", "shuffled_", "held_out_", "held_out_zeroed_")} <= set(figures)
    assert result.protocol["held_out"] == {**EXPERIMENT.environment.kwargs, **EXPERIMENT.held_out}
    assert (len(result.greedy.seeds), len(result.zeroed.seeds)) == (6, 6)
    assert result.target.at_end == 1
    assert not list(differences(result, evaluate_folder(folder.path)))
    both = KIND.combine([result, replace(result, training=(replace(result.training[0], seed=1),))], spec())
    assert both.per_seed["held_out_return_mean"] == (figures["held_out_return_mean"],) * 2
    KIND.print_outcome(Outcome(result=result, folder=folder.path, runs=(folder.path,), spec=spec(policy=policy)))
    KIND.print_outcome(Outcome(result=both, folder=folder.path, runs=(folder.path,) * 2, spec=spec(policy=policy)))
    KIND.print_evaluation(evaluate_folder(folder.path, episodes=2))
    said = capsys.readouterr().out
    assert "Held out" in said
    assert "Shuffled" in said
    assert (folder.path / "learning_curve.png").is_file()
    assert KIND.inside(folder_description(folder), False, False).parameters == load_policy(folder.path).layout.num_genes
    assert json.loads((folder.path / "policy.json").read_text())["held_out"] == EXPERIMENT.held_out


def folder_description(folder):
    from synrl_ray.policies.description import read_description

    return read_description(folder.path)


def test_fixed_weights_are_evolved_under_the_same_budget_and_have_nothing_to_freeze(tmp_path):
    fixed = replace(EXPERIMENT, ann=replace(EXPERIMENT.ann, plastic=False), held_out={})
    folder = RunFolder.create(tmp_path / "run", spec(experiment=fixed))
    result = train_run(folder, spec(experiment=fixed), KIND)
    assert result.zeroed is None
    assert not any(name.startswith(("zeroed", "held_out")) for name in result.figures)
    assert "shuffled_return_iqm" in result.figures
    assert load_policy(folder.path).layout.num_genes == 6 * 4 + 4 * 2


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(optimizer, tmp_path):
    experiment = replace(EXPERIMENT, algorithm=replace(EXPERIMENT.algorithm, optimizer=optimizer, sigma_decay=0.9))
    whole, cut = (RunFolder.create(tmp_path / name, spec(experiment=experiment)) for name in ("whole", "cut"))
    train_run(whole, spec(experiment=experiment), KIND)
    run = TrainingRun(cut, spec(experiment=experiment), KIND, lambda progress: None)
    for _ in range(4):
        run.iterate()
    run.save()
    run.close()
    train_run(cut, spec(experiment=experiment), KIND)
    clocks = {"wall_seconds", "env_steps_per_second"}
    rows = [[{k: v for k, v in row.items() if k not in clocks} for row in each.metrics()] for each in (whole, cut)]
    assert rows[0] == rows[1]
    assert (load_policy(whole.path).genome == load_policy(cut.path).genome).all()
    assert differences(whole.result(), cut.result()) == []
    held = next(cut.path.glob("checkpoint/**/*.safetensors")).parent
    assert {path.suffix for path in held.iterdir()} <= {".safetensors", ".json"}, "no pickles"


def test_a_policy_is_judged_alike_in_another_process_and_again():
    parallel = replace(EXPERIMENT, evaluation=replace(EXPERIMENT.evaluation, parallel_to_training=True))
    trainer = KIND.start(spec(experiment=parallel))
    trainer.train_once()
    sent = pickle.dumps(trainer.snapshot())
    assert pickle.loads(sent)() == pickle.loads(sent)() == trainer.evaluate()
    trainer.close()


def test_a_checkpoint_of_another_network_is_damage(tmp_path):
    folder = RunFolder.create(tmp_path / "run", spec())
    run = TrainingRun(folder, spec(), KIND, lambda progress: None)
    run.iterate()
    run.save()
    run.close()
    other = replace(EXPERIMENT, ann=AnnHebbian(hidden_sizes=(5,)))
    with pytest.raises(UserError, match="is damaged \\(its genes are those of another network\\)"):
        TrainingRun(folder, spec(experiment=other), KIND, lambda progress: None)


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (with_environment(reward_scale=2.0), "reward_scale means nothing for ranks of returns — leave it out"),
        (with_environment(normalise_rewards=True), "normalise_rewards means nothing"),
        (with_environment(id="Pendulum-v2", kwargs={}), "unknown environment 'Pendulum-v2'"),
        (replace(EXPERIMENT, ann=AnnHebbian(conv_layers=((4, 3, 1),))), "no image for convolutions — set ann.conv_l"),
        (replace(EXPERIMENT, held_out={"bodies": [["flat", "flat"]]}), "bodies names"),
        (replace(EXPERIMENT, held_out={"colour": 1}), "cannot be made .*colour"),
        (
            replace(with_environment(id="LunarLander-v3", kwargs={}), held_out={"continuous": True}),
            "held_out makes an environment of other actions — let both have the same spaces",
        ),
        (
            replace(EXPERIMENT, ann=AnnHebbian(hidden_sizes=(4096, 4096), coefficients="layer")),
            "numbers, 33,554,432 are the most — take fewer neurons",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(experiment, message):
    KIND.check(spec())
    with pytest.raises(UserError, match=message):
        KIND.check(spec(experiment=experiment))


def test_what_was_held_out_is_imported_by_whoever_is_trusted_only(tmp_path):
    """Gymnasium's wrapper of old Gym imports the module of its ``env_id``."""
    strange = replace(EXPERIMENT, held_out={"env_id": "strange_module:Strange-v0"})
    assert KIND.modules([strange]) == ["strange_module"]
    assert KIND.modules([EXPERIMENT]) == []
    folder = RunFolder.create(tmp_path / "run", spec())
    train_run(folder, spec(experiment=replace(EXPERIMENT, stopping=EvolutionStopping(env_steps=100))), KIND)
    file = folder.path / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"held_out": strange.held_out}))
    with pytest.raises(UserError, match="asks to import the module 'strange_module'"):
        evaluate_folder(folder.path, episodes=1)
    for wrong in ([1], 7, "text", {"bodies": "x" * 2**18}):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"held_out": wrong}))
        with pytest.raises(UserError, match=r"policy\.json"):
            evaluate_folder(folder.path, episodes=1)


def test_evolution_ends_where_an_evaluation_is_good_enough(tmp_path):
    easy = replace(EXPERIMENT, stopping=EvolutionStopping(env_steps=10**9, mean_return=2.0))
    folder = RunFolder.create(tmp_path / "run", spec(experiment=easy))
    result = train_run(folder, spec(experiment=easy), KIND)
    assert 1_000 <= result.training[0].steps < 3_000
    assert np.isfinite(result.figure("return_mean"))
