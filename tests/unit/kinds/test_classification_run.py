"""A classification run from its start to its folder, on four tiny files in MNIST's place. Ray is not started."""

import gzip
import json
import os
import signal
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from synrl_ray.data import mnist
from synrl_ray.data.location import md5
from synrl_ray.errors import UserError
from synrl_ray.experiment import Epochs
from synrl_ray.kinds import kind_of
from synrl_ray.kinds.classification.kind import KIND
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.seal import seal
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import Interrupted, train_run

SETTINGS = ["batch_size=16", "epochs=3", "spiking.hidden_sizes=12", "ann.hidden_sizes=12", "lr=1e-2", "max_shift=1"]
NUM_TRAINING, NUM_TEST = 120, 30  # a third of each is of digit 2, which the experiment leaves out
SAMPLES = 4 * 16  # an epoch: 80 images, less 4 held out, in whole batches


def write_files(folder):
    """Digits 0, 1, 2 in turn, each a bar at its own height, over noise; returns the table of checksums."""
    checksums = {}
    folder.mkdir(parents=True)
    for part, count in (("train", NUM_TRAINING), ("t10k", NUM_TEST)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = np.random.default_rng(count).integers(0, 40, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[8 * label + 3 : 8 * label + 7, 4:24] += 200
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            checksums[name] = md5(content)
    return checksums


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Data, nowhere else to look for them, and a place for the folders that Tune makes."""
    root = tmp_path_factory.mktemp("classification")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "_FILES", write_files(root / "mnist"))
        patch.setenv("SYNRL_DATA", str(root))
        patch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(root / "ray_results"))
        yield root


def spec_of(*settings, policy="spiking", seed=0):
    experiment = apply_overrides(get_experiment("mnist-binary"), [*SETTINGS, *settings])
    return RunSpec(experiment=experiment, policy=policy, seed=seed, num_workers=0)


def train(path, spec=None, watch=lambda progress: None):
    folder = RunFolder(path) if path.exists() else RunFolder.create(path, spec)
    return folder, train_run(folder, folder.spec(), KIND, watch)


def stop_at(samples):
    """A watcher that asks for an end, as Ctrl-C does, once that many images are seen."""

    def watch(progress):
        if progress.phase == "training" and progress.steps == samples:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


@pytest.fixture(scope="module")
def finished(lab):
    return train(lab / "spiking", spec_of())


def test_experiment_runs_as_a_classification():
    assert kind_of(spec_of().experiment) is KIND


def test_run_writes_policy_checkpoint_metrics_result_and_pictures(finished):
    folder, _ = finished
    assert {path.name for path in folder.path.iterdir()} == {
        *("card.md", "config.json", "metrics.jsonl", "tensorboard", "checkpoint", "checkpoint.old"),
        *("policy.safetensors", "policy.json", "policy.seal.json", "result.json"),
        *("learning_curve.png", "confusion.png", "activity.png"),
    }
    for name in ("learning_curve", "confusion", "activity"):
        assert (folder.path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_rows_count_epochs_and_samples_and_hold_an_evaluation_each(finished):
    rows = finished[0].metrics()
    assert [(row["iteration"], row["samples"]) for row in rows] == [(n, n * SAMPLES) for n in (1, 2, 3)]
    for row in rows:
        assert set(row) == {
            *("iteration", "samples", "episodes", "wall_seconds", "samples_per_second"),
            *("loss", "train_accuracy", "evaluation_accuracy"),
        }
    assert rows[-1]["loss"] < rows[0]["loss"]
    json.dumps(rows, allow_nan=False)


def test_result_counts_the_test_set(finished):
    folder, result = finished
    assert folder.result() == result
    assert (result.experiment, result.policy, result.seeds) == ("mnist-binary", "spiking", (0,))
    assert result.training[0].steps == 3 * SAMPLES
    confusion = np.array(result.confusion)
    assert confusion.sum(axis=1).tolist() == [10, 10]
    assert result.figures["errors"] == 20 - np.trace(confusion)
    assert result.figures["accuracy"] == np.trace(confusion) / 20 >= 0.9
    interval = result.interval("accuracy")
    assert interval.low < result.figures["accuracy"] <= interval.high
    protocol = {key: result.protocol[key] for key in ("test_images", "training_images", "validation_images")}
    assert protocol == {"test_images": 20, "training_images": 76, "validation_images": 4}
    assert result.protocol["classes"] == [0, 1]


def test_description_names_experiment_and_classes(finished):
    description = json.loads((finished[0].path / "policy.json").read_text())
    assert (description["experiment"], description["classes"]) == ("mnist-binary", [0, 1])


def test_evaluating_the_folder_again_gives_the_same_accuracy_and_changes_nothing(finished):
    folder, result = finished
    before = {file.name: file.read_bytes() for file in folder.path.iterdir() if file.is_file()}
    again = evaluate_folder(folder.path)
    for name in ("policy", "figures", "intervals", "confusion"):
        assert getattr(again, name) == getattr(result, name)
    assert again.run == str(folder.path)
    assert again.protocol == {"data": "MNIST, official test set", "classes": [0, 1], "test_images": 20}
    assert {file.name: file.read_bytes() for file in folder.path.iterdir() if file.is_file()} == before


@pytest.mark.parametrize(
    ("options", "named"),
    [({"episodes": 3}, "--episodes"), ({"seed": 0}, "--seed"), ({"video": True}, "--video")],
)
def test_evaluation_options_of_environments_are_refused(finished, tmp_path, options, named):
    if "video" in options:
        options = {"video": tmp_path / "episode.mp4"}
    with pytest.raises(UserError) as caught:
        evaluate_folder(finished[0].path, **options)
    assert str(caught.value) == f"{named} means nothing for a classifier — leave it out"
    assert list(tmp_path.iterdir()) == []


def test_evaluation_of_a_damaged_classifier_is_one_line(finished, tmp_path):
    description = (finished[0].path / "policy.json").read_text()
    (tmp_path / "policy.json").write_text(description)
    (tmp_path / "policy.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError) as caught:
        evaluate_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ann_has_no_picture_of_spikes(lab):
    folder, result = train(lab / "ann", spec_of(policy="ann"))
    assert result.policy == "ann"
    assert not (folder.path / "activity.png").exists()
    assert (folder.path / "confusion.png").exists()


def test_classes_are_numbered_in_the_order_of_the_digits(lab):
    _, result = train(lab / "three", spec_of("digits=2,0,1"))
    assert result.protocol["classes"] == [2, 0, 1]
    assert np.array(result.confusion).shape == (3, 3)
    assert result.figures["accuracy"] > 0.5


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(lab, tmp_path, policy):
    whole, expected = train(tmp_path / "whole", spec_of(policy=policy))
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", spec_of(policy=policy), stop_at(SAMPLES))
    cut = RunFolder(tmp_path / "cut")
    position = cut.checkpoint().position
    assert (cut.result(), position.iteration, position.steps) == (None, 1, SAMPLES)
    _, result = train(tmp_path / "cut")
    weights = [load_file(folder.path / "policy.safetensors") for folder in (whole, cut)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert result.confusion == expected.confusion
    for ours, theirs in zip(cut.metrics(), whole.metrics(), strict=True):
        timing = ("wall_seconds", "samples_per_second")
        assert {k: v for k, v in ours.items() if k not in timing} == {
            k: v for k, v in theirs.items() if k not in timing
        }


def test_run_that_was_interrupted_after_its_last_epoch_is_only_judged(lab, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path / "run", spec_of(), stop_at(3 * SAMPLES))
    folder, result = train(tmp_path / "run")
    assert (len(folder.metrics()), result.training[0].steps) == (3, 3 * SAMPLES)


def test_damaged_checkpoint_is_named_in_one_line(lab, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path / "run", spec_of(), stop_at(SAMPLES))
    (file,) = (tmp_path / "run" / "checkpoint" / "algorithm").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    seal(tmp_path / "run" / "checkpoint")
    with pytest.raises(UserError) as caught:
        train(tmp_path / "run")
    assert str(caught.value).startswith(f"checkpoint {tmp_path / 'run' / 'checkpoint'} is damaged (")
    assert "\n" not in str(caught.value)


def test_watcher_is_told_samples_and_accuracies(lab, tmp_path):
    told = []
    _, result = train(tmp_path / "run", spec_of("epochs=1"), told.append)
    assert [p.phase for p in told] == ["starting", "evaluating", "training", "evaluating", "done"]
    assert {(p.unit, p.total) for p in told[1:]} == {("images", SAMPLES)}
    figures = dict(told[-1].figures)
    assert figures["test accuracy"] == result.figures["accuracy"]
    assert set(figures) == {"loss", "validation accuracy", "test accuracy"}


def test_batch_that_is_larger_than_the_set_trains_the_asked_number_of_epochs(lab, tmp_path):
    folder, _ = train(tmp_path / "run", spec_of("batch_size=200", "epochs=2"))
    assert len(folder.metrics()) == 2


def test_run_leaves_nothing_in_the_folder_of_tune(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray_results"))
    train(tmp_path / "run", spec_of("epochs=1"))
    assert list((tmp_path / "ray_results").glob("*")) == []


def test_check_passes_what_can_run(lab):
    assert KIND.check(spec_of()) is None


@pytest.mark.parametrize("setting", ["digits=0,0", "digits=3", "digits=0,12"])
def test_check_names_digits_that_cannot_be_told_apart(lab, setting):
    with pytest.raises(UserError, match="cannot be told apart"):
        KIND.check(spec_of(setting))


def test_check_names_damaged_data(lab, tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        KIND.check(spec_of())


def test_check_names_convolutions_that_do_not_fit_the_image(lab):
    with pytest.raises(UserError, match=r"convolution 4 \(kernel 3\) is larger than its input of 2 x 2"):
        KIND.check(spec_of("spiking.architecture=conv", "spiking.channels=8,8,8,8"))


def test_specification_comes_back_from_the_folder(finished):
    expected = spec_of()
    assert finished[0].spec() == expected
    changed = replace(expected.experiment, stopping=Epochs(epochs=7))
    assert (
        RunSpec.from_json(json.loads(json.dumps(replace(expected, experiment=changed).to_json()))).experiment == changed
    )
