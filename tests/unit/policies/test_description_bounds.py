"""``policy.json``: what is read of it, up to which size, and which formats there are."""

import json

import pytest

from synrl_ray.errors import UserError
from synrl_ray.policies import description as module
from synrl_ray.policies.description import FORMATS, Description, read_description


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policy.json").write_text('{"format": 1, "a": 2}')
    (tmp_path / "policy.safetensors").touch()
    return tmp_path


def test_a_description_is_read_once(folder, monkeypatch):
    found = read_description(str(folder))
    assert found == Description(folder, {"format": 1, "a": 2})
    assert (found["a"], found.get("a"), found.get("b"), found.get("b", 7)) == (2, 2, None, 7)
    assert found.file == folder / "policy.json"
    monkeypatch.setattr(module, "read_bounded", None)
    assert read_description(found) is found


@pytest.mark.parametrize(("size", "accepted"), [(1024**2, True), (1024**2 + 1, False)])
def test_it_has_a_mebibyte_at_most(folder, size, accepted):
    text = (folder / "policy.json").read_text()
    (folder / "policy.json").write_text(text + " " * (size - len(text)))
    if accepted:
        assert read_description(folder)["a"] == 2
    else:
        with pytest.raises(UserError, match=r"policy.json is damaged \(it is larger than 1,048,576 bytes\)"):
            read_description(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [("[1]", "it is no JSON object"), ("[" * 100_000, "it is nested too deeply"), ("{", "")],
    ids=["list", "deep", "cut"],
)
def test_what_is_no_description_is_damage(folder, content, says):
    (folder / "policy.json").write_text(content)
    with pytest.raises(UserError, match=rf"policy.json is damaged \({says}"):
        read_description(folder)


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_a_folder_that_lacks_a_file_holds_no_policy(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"holds no {name} — name the folder of a run that has trained"):
        read_description(folder)


def test_formats_are_known_by_their_name_whether_a_number_or_a_text(folder):
    assert read_description(folder).format is FORMATS["1"]
    assert {name: (each.kind, each.acts) for name, each in FORMATS.items()} == {
        "1": ("control", True),
        "local-1": ("local", True),
        "hebbian-1": ("evolution", True),
        "classifier-1": ("classification", False),
        "meta-1": ("meta", False),
    }
    for named in (2, None, "other"):
        (folder / "policy.json").write_text(json.dumps({"format": named}))
        with pytest.raises(UserError, match=rf"format {named!r} is not known"):
            _ = read_description(folder).format


def test_a_loader_reads_its_own_format_only():
    found = Description(None, {"format": 1})
    found.require_format(1)
    with pytest.raises(ValueError, match="format 1 is not known"):
        found.require_format("local-1")


def test_what_loads_a_format_gets_the_description(folder, monkeypatch):
    monkeypatch.setattr("synrl_ray.policies.policy.load_network_policy", lambda found: ("loaded", found))
    found = read_description(folder)
    assert found.load() == ("loaded", found)
