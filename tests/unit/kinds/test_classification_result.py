"""What several seeds amount to, and what is printed."""

import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from synrl_ray.data.mnist import LabelledImages
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.kinds.classification.kind import KIND
from synrl_ray.kinds.classification.printing import print_evaluation, print_outcome
from synrl_ray.kinds.classification.result import combine, finish
from synrl_ray.registry import get_experiment
from synrl_ray.results import Interval, Result, Training, read_result
from synrl_ray.running.kind import Outcome
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.seeds import _summarise
from synrl_ray.running.spec import RunSpec

PROTOCOL = {"data": "MNIST, official test set", "classes": [3, 8], "test_images": 1000}

SPEC = RunSpec(experiment=get_experiment("mnist-binary"), policy="spiking", seed=0, num_workers=0)


def result_of(seed, errors, **changes):
    fields = {
        "experiment": "mnist-binary",
        "policy": "spiking",
        "score": "accuracy",
        "figures": {"accuracy": 1 - errors / 1000, "errors": errors},
        "intervals": (Interval(of="accuracy", low=0.98169, high=0.99456, method="Wilson", over="test images"),),
        "protocol": PROTOCOL,
        "training": (Training(seed=seed, unit="samples", steps=640, wall_seconds=12.3 + seed),),
    }
    return Result(**fields | changes)


@pytest.fixture
def runs(tmp_path):
    """Two finished runs of two epochs each."""
    specs = [
        RunSpec(experiment=get_experiment("mnist-binary"), policy="spiking", seed=seed, num_workers=0)
        for seed in (0, 1)
    ]
    folders = [RunFolder.create(tmp_path / f"spiking-seed{spec.seed}", spec) for spec in specs]
    for folder, errors in zip(folders, (10, 30), strict=True):
        for epoch in (1, 2):
            folder.append_metrics({"iteration": epoch, "samples": 320 * epoch, "evaluation_accuracy": 0.4 + epoch / 4})
        folder.write_result(result_of(folder.spec().seed, errors))
    return folders, specs


def test_confusion_has_the_true_class_as_its_row(runs):
    """Of three threes one is taken for an eight, of four eights none for a three: 6 of 7 are right."""
    labels, predicted = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 1, 1, 1, 1])
    trainable = SimpleNamespace(
        test_set=LabelledImages(np.zeros((7, 28, 28), np.uint8), labels),
        predict=lambda data: predicted,
        model=SimpleNamespace(classes=(3, 8)),
        training_set=range(95),
        validation_set=range(5),
    )
    folder, spec = runs[0][0], replace(runs[1][0], policy="ann")
    position = Position(iteration=2, steps=640, wall_seconds=16.0)
    result = finish(folder, spec, trainable, position)
    assert result.confusion == ((2, 1), (0, 4))
    assert result.figures == {"accuracy": 6 / 7, "errors": 1}
    (trained,) = result.training
    assert (trained.unit, trained.steps, trained.steps_per_second) == ("samples", 640, 40.0)
    assert folder.result() == result
    protocol = result.protocol
    assert (protocol["training_images"], protocol["validation_images"], protocol["test_images"]) == (95, 5, 7)


def test_several_seeds_have_the_interval_of_one_test_set_at_their_mean_accuracy():
    """The seeds share 1,000 images; 13.3 of them are wrong on average. The Wilson interval is scipy's for 987."""
    combined = combine([result_of(seed, errors) for seed, errors in enumerate((10, 30, 0))], SPEC)
    assert combined.figures["accuracy"] == pytest.approx(2960 / 3000)
    interval = combined.interval("accuracy")
    assert (interval.low, interval.high) == pytest.approx((0.977886, 0.992387), abs=1e-6)
    assert interval.over == "test images"
    assert combined.per_seed == {"accuracy": (0.99, 0.97, 1.0), "errors": (10, 30, 0)}
    assert [(trained.seed, trained.wall_seconds) for trained in combined.training] == [(0, 12.3), (1, 13.3), (2, 14.3)]
    assert (combined.experiment, combined.policy, combined.protocol) == ("mnist-binary", "spiking", PROTOCOL)


def test_one_seed_keeps_its_accuracy():
    combined = combine([result_of(5, 10)], SPEC)
    assert (combined.figures["accuracy"], combined.seeds) == (0.99, (5,))


def test_summary_of_several_seeds_lies_beside_the_runs(runs, tmp_path):
    outcome = _summarise(*runs, KIND)
    assert (outcome.folder, outcome.result.figures["accuracy"]) == (tmp_path / "spiking-2seeds", 0.98)
    assert read_result(outcome.folder) == outcome.result
    assert {path.name for path in outcome.folder.iterdir()} == {"result.json", "learning_curve.png"}


def test_curves_are_drawn_for_one_seed_and_for_several(runs, tmp_path):
    folders, _ = runs
    for count in (1, 2):
        save_figures(KIND.figures(folders[:count]), tmp_path)
        content = (tmp_path / "learning_curve.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert struct.unpack(">II", content[16:24]) == (1200, 750)


def printed(capsys, show, subject):
    show(subject)
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_report_of_one_run_says_accuracy_protocol_and_where_the_files_are(capsys):
    result = result_of(0, 10)
    outcome = Outcome(result=result, folder=Path("runs/a"), runs=(Path("runs/a"),), spec=SPEC)
    assert printed(capsys, print_outcome, outcome) == [
        "",
        "mnist-binary (spiking), 12 s",
        "Accuracy      99.00%  (95 % interval 98.17% to 99.46%)",
        "Protocol      MNIST, official test set, 1,000 images of the digits 3, 8",
        "",
        "Files         runs/a/  (result.json, pictures, policy)",
        "Judge again   synrl evaluate runs/a",
        "Report        synrl report runs/a --out report.html",
        "Share it      synrl pack runs/a --out policy.synrl",
    ]


def test_report_of_several_seeds_says_each_ones_accuracy(capsys):
    result = combine([result_of(0, 10), result_of(1, 30)], SPEC)
    runs = (Path("runs/s0"), Path("runs/s1"))
    outcome = Outcome(result=result, folder=Path("runs/both"), runs=runs, spec=SPEC)
    lines = printed(capsys, print_outcome, outcome)
    assert lines[1] == "mnist-binary (spiking), 12 s, 13 s"
    assert [line.split() for line in lines[2:4]] == [["Seed", "0", "99.00%"], ["Seed", "1", "97.00%"]]
    assert lines[4].startswith("Accuracy      98.00%  (95 % interval 96.93% to 98.70%)")
    assert lines[-4].startswith("Files         runs/both/  (result.json")
    assert "policy" not in lines[-4]


def test_evaluation_says_which_classifier_and_its_accuracy(capsys):
    figures, interval = {"accuracy": 0.995, "errors": 5}, result_of(0, 5).intervals[0]
    result = result_of(
        0, 5, policy="ann", run="runs/a", figures=figures, intervals=(replace(interval, low=0.99, high=0.998),)
    )
    assert printed(capsys, print_evaluation, result) == [
        "runs/a: ann classifier",
        "Accuracy      99.50%  (95 % interval 99.00% to 99.80%)",
        "Protocol      MNIST, official test set, 1,000 images of the digits 3, 8",
    ]
