"""The picture of a study."""

from matplotlib.image import imread
from studies import make_study, make_trial

from synrl_ray.evaluation.saving import save_figure
from synrl_ray.kinds import kind_named
from synrl_ray.tuning.figure import study_figure
from synrl_ray.tuning.score import WORST, score_of


def settings(lr, beta, option):
    return {"algorithm.lr": lr, "spiking.beta": beta, "algorithm.entropy_coeff": 0.01, "spiking.hidden_sizes": option}


def test_all_states_and_kinds_of_ranges_are_drawn(tmp_path):
    study = make_study("spiking.hidden_sizes=8/16,16")
    trials = [
        make_trial(0, 10.0, 20.0, 400.0, 500.0, **settings(1e-3, 0.6, [8])),
        make_trial(1, 10.0, state="stopped", **settings(3e-4, 0.9, [16, 16])),
        make_trial(2, 12.0, WORST, state="running", **settings(2e-3, 0.7, [8])),
        make_trial(3, state="failed", **settings(3e-3, 0.7, [8])),
    ]
    save_figure(study_figure(study, trials, trials[0]), tmp_path / "tuning.png")
    height, width, _ = imread(tmp_path / "tuning.png").shape
    assert (width, height) == (1350, round(150 * (3.8 + 2 * 2.6)))


def test_a_study_without_any_number_is_drawn(tmp_path):
    trials = [make_trial(0, WORST)]
    save_figure(study_figure(make_study(), trials, trials[0]), tmp_path / "tuning.png")
    assert (tmp_path / "tuning.png").stat().st_size > 0


def test_scores_are_larger_for_better():
    control, local, classification = map(kind_named, ("control", "local", "classification"))
    assert score_of(control, {"evaluation_return_mean": 3.0, "loss": 1.0}) == (3.0, "greedy return")
    assert score_of(local, {"evaluation_regret": 2.0, "evaluation_value": 1.0}) == (-2.0, "minus exact regret")
    assert str(score_of(local, {"evaluation_regret": 0.0})[0]) == "0.0"
    assert score_of(local, {"evaluation_regret": 0.1, "evaluation_success_rate": 0.5}) == (0.5, "success rate")
    assert score_of(classification, {"evaluation_accuracy": 0.9}) == (0.9, "validation accuracy")
    assert score_of(local, {"evaluation_value": -1.0}) == (WORST, "")
    assert score_of(classification, {"loss": 1.0}) is None
