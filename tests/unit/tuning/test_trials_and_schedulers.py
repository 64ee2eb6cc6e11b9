"""Which settings trials get, what a resumed search remembers, and what a copied checkpoint may not bring along."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.pbt import _explore
from ray.tune.search import Searcher
from studies import make_study, make_trial

from synrl_ray.errors import UserError
from synrl_ray.experiment import Choice
from synrl_ray.registry import get_experiment
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning.scheduling import evaluation_interval, make_scheduler
from synrl_ray.tuning.searching import RandomProposer, TrialSource
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.trainable import own_settings
from synrl_ray.tuning.trials import Trial


def choosing(study, **options):
    space = {path.replace("__", "."): Choice(values) for path, values in options.items()}
    return replace(study, run=replace(study.run, experiment=replace(study.run.experiment, search_space=space)))


def test_random_settings_depend_on_the_seed_and_the_trial_alone():
    study = make_study()
    together = [RandomProposer(study, []).propose(index) for index in (3, 0)]
    assert together == [RandomProposer(study, []).propose(3), RandomProposer(study, []).propose(0)]
    assert together[0] != together[1]


def test_choices_are_drawn_once_each():
    study = choosing(make_study(samples=9), spiking__reset=("zero", "subtract"), algorithm__num_epochs=(2, 4))
    source, trials = TrialSource(study, []), []
    while (config := source.suggest(f"t{len(trials)}")) != Searcher.FINISHED:
        trials.append((config["spiking.reset"], config["algorithm.num_epochs"]))
    assert sorted(trials) == [("subtract", 2), ("subtract", 4), ("zero", 2), ("zero", 4)]


def test_a_resumed_search_hands_out_what_is_unfinished_first():
    trials = [make_trial(0, 1.0), make_trial(1, 2.0, state="running"), make_trial(2, state="failed")]
    source = TrialSource(make_study(samples=4), trials)
    assert source.suggest("a") == {"trial": 1, "algorithm.lr": 1e-3}
    assert source.suggest("b")["trial"] == 3
    assert source.suggest("c") == Searcher.FINISHED
    source.on_trial_complete("b", {"score": 1.0})
    assert [trial.index for trial in trials] == [0, 1, 2, 3]


def test_a_resumed_asha_compares_with_earlier_trials():
    """Five earlier trials had 10 to 50 at a quarter of their run: a new one with 20 is stopped, one with 60 goes on."""
    study = make_study()
    study = replace(study, run=replace(study.run, experiment=with_interval(study.run.experiment, 25_000)))
    trials = [make_trial(i, 10.0 * (i + 1)) for i in range(5)]
    scheduler = make_scheduler(study, trials)
    decisions = []
    for index, score in enumerate((20.0, 60.0), 5):
        new = SimpleNamespace(trial_id=f"new {score}", config={"trial": index})
        scheduler.on_trial_add(None, new)
        decisions.append(scheduler.on_trial_result(None, new, {"progress": 26.0, "score": score}))
    assert decisions == [TrialScheduler.STOP, TrialScheduler.CONTINUE]


def test_a_trial_that_goes_on_is_not_judged_again_at_rungs_that_it_has_passed():
    """It had the worst score at the first rung, as the first of three, and was let go on: so it is when resumed."""
    study = make_study()
    study = replace(study, run=replace(study.run, experiment=with_interval(study.run.experiment, 25_000)))
    trials = [make_trial(0, 10.0, state="running"), make_trial(1, 50.0), make_trial(2, 60.0)]
    scheduler = make_scheduler(study, trials)
    again = SimpleNamespace(trial_id="anew", config={"trial": 0})
    scheduler.on_trial_add(None, again)
    assert scheduler.on_trial_result(None, again, {"progress": 50.0, "score": 11.0}) == TrialScheduler.CONTINUE
    (bracket,) = scheduler._brackets
    assert [len(rung) for _, rung in bracket._rungs if rung] == [3]


def with_interval(experiment, steps):
    return replace(experiment, evaluation=replace(experiment.evaluation, interval_steps=steps))


def interval_of(experiment):
    return evaluation_interval(
        Study(run=RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0), samples=1)
    )


def test_intervals_in_percent():
    assert interval_of(get_experiment("cartpole-ppo")) == 10
    assert interval_of(get_experiment("mnist-binary")) == 20
    assert interval_of(with_interval(get_experiment("cartpole-ppo"), 10**9)) == 100


def test_a_population_stays_inside_its_ranges_and_leaves_the_network_alone():
    study = make_study("num_epochs=2..9", "algorithm.gamma=0.98/0.99", scheduler="pbt")
    scheduler = make_scheduler(study, [])
    random.seed(0)
    config = {
        "trial": 0,
        "algorithm.lr": 3e-3,
        "algorithm.entropy_coeff": 0.02,
        "algorithm.num_epochs": 9,
        "algorithm.gamma": 0.99,
        "spiking.beta": 0.7,
    }
    for _ in range(100):
        config, _ = _explore(config, scheduler._hyperparam_mutations, 0.25, (1.2, 0.8), scheduler._custom_explore_fn)
        assert 3e-4 <= config["algorithm.lr"] <= 3e-3
        assert 0 <= config["algorithm.entropy_coeff"] <= 0.02
        assert config["algorithm.num_epochs"] in range(2, 10)
        assert config["algorithm.gamma"] in (0.98, 0.99)
    assert config["spiking.beta"] == 0.7


def test_populations_that_make_no_sense():
    with pytest.raises(UserError, match="more than one trial"):
        make_study(samples=1).perturbed()
    with pytest.raises(UserError, match="settings of the algorithm only"):
        choosing(make_study(), spiking__reset=("zero", "subtract")).perturbed()


def make_optimizer(lr, alpha, epochs_trained):
    """One of a task that decays the learning rate by a cosine over ten epochs."""
    optimizer = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(1))], lr=lr, alpha=alpha)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    for _ in range(epochs_trained):
        optimizer.step()
        schedule.step()
    return optimizer, schedule


def test_a_copied_checkpoint_brings_no_settings_along():
    """Half-way through, the factor of the cosine is one half: of the own 0.2, not of the other's 0.1."""
    other, _ = make_optimizer(0.1, 0.9, 5)
    own, schedule = make_optimizer(0.2, 0.5, 0)
    with own_settings(SimpleNamespace(optimizers=lambda: [own])):
        own.load_state_dict(other.state_dict())
        schedule.last_epoch = 5
    assert own.param_groups[0]["lr"] == pytest.approx(0.1)
    assert own.param_groups[0]["alpha"] == 0.5
    own.step()
    schedule.step()
    fresh, _ = make_optimizer(0.2, 0.5, 6)
    assert own.param_groups[0]["lr"] == pytest.approx(fresh.param_groups[0]["lr"])


def test_a_trial_without_an_evaluation_ranks_last():
    assert Trial(index=0, settings={}).rank < make_trial(1, -1e9).rank
