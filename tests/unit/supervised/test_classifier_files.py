import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnnClassifier, SpikingClassifier
from synrl_ray.policies.description import DESCRIPTION_FILE, FORMATS, WEIGHTS_FILE
from synrl_ray.supervised.files import load_classifier, save_classifier
from synrl_ray.supervised.model import Classifier

SMALL = {"hidden_sizes": (6,), "channels": (2, 3)}
CONFIGS = [
    SpikingClassifier(**SMALL, learn_beta=True, learn_threshold=True, surrogate_slope=3.0, reset="zero"),
    SpikingClassifier(architecture="conv", **SMALL),
    SpikingClassifier(architecture="conv", encoder="latency", **SMALL),
    AnnClassifier(**SMALL),
    AnnClassifier(architecture="conv", **SMALL),
]
IMAGES = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path):
    save_classifier(Classifier(CONFIGS[0], (3, 8)), tmp_path, experiment="some-id")
    return tmp_path


def edit_description(folder, **changes):
    path = folder / DESCRIPTION_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def error_line(folder):
    with pytest.raises(UserError) as caught:
        load_classifier(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert line.endswith(" — restore it or train again")
    return line


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.kind}-{config.architecture}")
def test_loaded_classifier_has_the_same_logits_config_and_classes(tmp_path, config):
    model = Classifier(config, (7, 1, 2))
    save_classifier(model, tmp_path)
    loaded = load_classifier(tmp_path)
    assert (loaded.config, loaded.classes) == (config, (7, 1, 2))
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), model.eval()(IMAGES))


def test_folder_holds_two_files_and_no_pickle(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted([DESCRIPTION_FILE, WEIGHTS_FILE])
    assert (saved / WEIGHTS_FILE).read_bytes()[8:9] == b"{"  # safetensors: eight bytes of length, then a JSON header


def test_description_names_classes_and_metadata(saved):
    description = json.loads((saved / DESCRIPTION_FILE).read_text())
    assert FORMATS[description["format"]].kind == "classification"
    assert (description["classes"], description["experiment"]) == ([3, 8], "some-id")
    assert description["classifier"]["hidden_sizes"] == [6]


def test_saving_again_replaces_the_weights(saved):
    other = Classifier(CONFIGS[0], (3, 8))
    save_classifier(other, saved)
    assert torch.equal(load_classifier(saved)(IMAGES), other(IMAGES))


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, WEIGHTS_FILE])
def test_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(UserError, match=rf"^{saved} holds no {name} — name the folder of a run that has trained"):
        load_classifier(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"classifier": {}}'])
def test_damaged_description_is_named(saved, content):
    (saved / DESCRIPTION_FILE).write_bytes(content)
    assert str(saved) in error_line(saved)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"format": "classifier-2"}, id="later format"),
        pytest.param({"classes": [3, 8, 9]}, id="more classes than outputs"),
        pytest.param({"classes": ["three", 8]}, id="class that is no number"),
        pytest.param({"classes": None}, id="no classes"),
        pytest.param({"classifier": {"kind": "lstm"}}, id="unknown kind"),
        pytest.param({"classifier": {"kind": ["spiking"]}}, id="kind that is no text"),
        pytest.param({"classifier": {**asdict(CONFIGS[0]), "hidden_sizes": [7]}}, id="other sizes"),
        pytest.param({"classifier": {**asdict(CONFIGS[0]), "hidden_sizes": []}}, id="no sizes"),
        pytest.param({"classifier": {**asdict(CONFIGS[0]), "beta": 1.5}}, id="value out of range"),
        pytest.param({"classifier": {**asdict(CONFIGS[0]), "bta": 0.5}}, id="unknown setting"),
        pytest.param({"classifier": {"kind": "ann", "hidden_sizes": [6]}}, id="the twin"),
        pytest.param({"classifier": None}, id="no classifier"),
    ],
)
def test_description_that_does_not_fit_is_refused(saved, changes):
    edit_description(saved, **changes)
    assert str(saved) in error_line(saved)


@pytest.mark.parametrize("keep", [0, 5, 50, -4])
def test_truncated_weights_are_refused(saved, keep):
    content = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(content[:keep])
    assert str(saved) in error_line(saved)


def test_weights_with_a_missing_tensor_are_refused(saved):
    tensors = load_file(saved / WEIGHTS_FILE)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, saved / WEIGHTS_FILE)
    assert str(saved) in error_line(saved)
