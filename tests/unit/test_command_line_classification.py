"""``synrl`` with MNIST: what is refused in one line, and the digits that end up in a result. Ray is not started."""

import contextlib
import gzip
import json
import struct
import urllib.error
import urllib.request

import numpy as np
import pytest

from synrl_ray.cli import main
from synrl_ray.data import mnist
from synrl_ray.data.location import md5
from synrl_ray.running import seeds

SMALL = ["batch_size=32", "epochs=1", "spiking.hidden_sizes=8", "spiking.steps_per_observation=2"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """An empty working folder, data nowhere, no network and no Ray."""

    def offline(*arguments, **options):
        raise urllib.error.URLError("no network in tests")

    def refuse(*arguments, **options):
        raise AssertionError("this would have started Ray")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.delenv("SYNRL_RUN_ROOT", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setattr(seeds, "ray_session", refuse)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Ten digits in turn: 200 for training, 40 for the test, each a bright line at its own height."""
    checksums = {}
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for part, count in (("train", 200), ("t10k", 40)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        images[np.arange(count), 2 * labels + 4] = 255
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (tmp_path / "data" / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
            checksums[name] = md5(content)
    monkeypatch.setattr(mnist, "_FILES", checksums)
    return tmp_path / "data" / "mnist"


@pytest.fixture
def train(data, tmp_path, monkeypatch, capsys):
    """Trains with settings, without a Ray session; returns the printed result."""
    monkeypatch.setattr(seeds, "ray_session", lambda *arguments, **options: contextlib.nullcontext())
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray_results"))

    def train(*settings):
        with contextlib.suppress(SystemExit):
            main(["train", "mnist-binary", "--set", *SMALL, *settings, "--run-dir", "run", "--json"])
        return json.loads(capsys.readouterr().out)

    return train


def test_seeds_that_are_all_trained_are_summarised_without_ray(data, tmp_path, monkeypatch, capsys):
    command = ["train", "mnist-binary", "--set", *SMALL, "--json"]
    with monkeypatch.context() as patched:
        patched.setattr(seeds, "ray_session", lambda *arguments, **options: contextlib.nullcontext())
        patched.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray_results"))
        for seed in ("0", "1"):
            with contextlib.suppress(SystemExit):
                main([*command, "--seed", seed])
    capsys.readouterr()
    with contextlib.suppress(SystemExit):
        main([*command, "--seeds", "2"])
    result = json.loads(capsys.readouterr().out)
    assert [trained["seed"] for trained in result["training"]] == [0, 1]
    assert len(result["per_seed"]["accuracy"]) == 2


def error_line(capsys, tmp_path, *argv):
    """The one line on standard error of a command that ends with status 2 and writes nothing."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(argv)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith("synrl: ")
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
    return err.removeprefix("synrl: ").rstrip("\n")


def test_environment_steps_are_refused_with_the_remedy(capsys, tmp_path, data):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", "--stop-steps", "1000")
    assert line == "mnist-binary does not count environment steps — write --set epochs=N instead of --stop-steps"


@pytest.mark.parametrize(
    ("setting", "classes"),
    [("digits=0,1", [0, 1]), ("digits=8,3,5", [8, 3, 5]), ("digits=all", list(range(10))), ("digits=[4,9]", [4, 9])],
)
def test_digits_that_are_named_are_told_apart(train, setting, classes):
    result = train(setting)
    assert result["protocol"]["classes"] == classes
    assert result["protocol"]["test_images"] == 4 * len(classes)
    assert [sum(row) for row in result["confusion"]] == [4] * len(classes)


def test_epochs_are_set_as_the_remedy_says(train):
    result = train("digits=all", "epochs=3")
    whole_batches = result["protocol"]["training_images"] // 32
    assert result["training"][0]["steps"] == 3 * whole_batches * 32


@pytest.mark.parametrize(
    ("setting", "shown"),
    [("digits=3", "(3,)"), ("digits=0,0", "(0, 0)"), ("digits=0,12", "(0, 12)"), ("digits=-1,3", "(-1, 3)")],
)
def test_digits_that_cannot_be_told_apart_are_refused(capsys, tmp_path, data, setting, shown):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", "--set", setting)
    assert line == f"digits {shown} cannot be told apart — name at least two different ones of 0 to 9"


@pytest.mark.parametrize("value", ["some", "0,one", "0.5,1", "", "null"])
def test_digits_that_are_none_are_refused_as_a_setting(capsys, tmp_path, data, value):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", "--set", f"digits={value}")
    assert line.startswith(f"setting 'digits' cannot be '{value}' — ")


@pytest.mark.parametrize("setting", ["epochs=0", "max_shift=9", "batch_size=0", "lr=0", "spiking.beta=1.1"])
def test_settings_out_of_range_are_refused(capsys, tmp_path, data, setting):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", "--set", setting)
    name, _, value = setting.partition("=")
    assert line.startswith(f"setting '{name}' cannot be '{value}' — ")


def test_setting_that_both_classifiers_have_asks_which(capsys, tmp_path, data):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", "--set", "architecture=conv")
    assert line == "setting 'architecture' is ambiguous — write one of spiking.architecture, ann.architecture"


def test_settings_of_environments_are_not_known(capsys, tmp_path, data):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", "--set", "env=CartPole-v1")
    assert line.startswith("unknown setting 'env' — ")
    assert "data.digits" in line


def test_convolutions_that_do_not_fit_the_image_are_refused(capsys, tmp_path, data):
    settings = ["spiking.architecture=conv", "spiking.channels=8,8,8,8"]
    assert "convolution 4 (kernel 3) is larger" in error_line(
        capsys, tmp_path, "train", "mnist-binary", "--set", *settings
    )


@pytest.mark.parametrize("options", [[], ["--seeds", "2"], ["--policy", "ann"]])
def test_missing_data_are_one_line_with_the_remedy(capsys, tmp_path, options):
    line = error_line(capsys, tmp_path, "train", "mnist-binary", *options)
    missing = tmp_path / "data" / "mnist" / "train-images-idx3-ubyte.gz"
    assert line == (
        f"data file {missing} is not there and cannot be fetched (no network in tests) — "
        "set SYNRL_DATA to a folder that has it, or connect to the internet"
    )


def test_damaged_data_are_one_line_with_the_remedy(capsys, tmp_path, data):
    path = data / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-10])
    line = error_line(capsys, tmp_path, "train", "mnist-binary")
    assert line == f"data file {path} is damaged (wrong checksum) — delete it, so that it is fetched again"


def test_missing_data_stop_a_resumed_run_before_it_starts(capsys, tmp_path, train, data, monkeypatch):
    train()
    (tmp_path / "work" / "run" / "result.json").unlink()
    for file in data.iterdir():
        file.unlink()
    line = error_line(capsys, tmp_path, "train", "--resume", "run")
    assert line.startswith(f"data file {data / 'train-images-idx3-ubyte.gz'} is not there and cannot be fetched")


def test_evaluate_command_judges_a_classifier_without_ray(capsys, train):
    result = train()
    with contextlib.suppress(SystemExit):
        main(["evaluate", "run", "--json"])
    again = json.loads(capsys.readouterr().out)
    assert again["figures"] == result["figures"]


@pytest.mark.parametrize(("option", "value"), [("--episodes", "5"), ("--seed", "0"), ("--video", "e.mp4")])
def test_evaluate_command_refuses_options_of_environments(capsys, tmp_path, train, option, value):
    train()
    line = error_line(capsys, tmp_path, "evaluate", "run", option, value)
    assert line == f"{option} means nothing for a classifier — leave it out"
