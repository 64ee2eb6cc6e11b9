import os

import pytest

from synrl_ray import registry
from synrl_ray.errors import UserError

TEMPLATE = """
from dataclasses import replace
from synrl_ray.experiment import *
experiment = Experiment(
    id={id!r},
    summary={summary!r},
    environment=Environment(id="CartPole-v1"),
    spiking=SpikingPolicy(),
    ann=AnnPolicy(),
    algorithm=PPO(),
    stopping=Stopping(env_steps=100),
)
"""


@pytest.fixture(autouse=True)
def only_these_folders(tmp_path, monkeypatch):
    """An empty working directory; the package's own experiments are out of the way."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path / "elsewhere" / "synrl_ray")


def write(path, id, summary="", extra=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE.format(id=id, summary=summary) + extra)
    return path


def test_experiments_of_the_working_directory_are_found(tmp_path):
    write(tmp_path / "here/experiments/one.py", "one")
    assert list(registry.all_experiments()) == ["one"]


def test_experiments_beside_the_package_and_inside_it_are_found(tmp_path):
    write(tmp_path / "elsewhere/experiments/beside.py", "beside")
    write(tmp_path / "elsewhere/synrl_ray/_experiments/inside.py", "inside")
    assert list(registry.all_experiments()) == ["beside", "inside"]


def test_folders_in_the_environment_variable_are_found(tmp_path, monkeypatch):
    write(tmp_path / "a/one.py", "one")
    write(tmp_path / "b/two.py", "two")
    monkeypatch.setenv("SYNRL_EXPERIMENTS", f"{tmp_path / 'b'}{os.pathsep}{os.pathsep}{tmp_path / 'a'}")
    assert list(registry.all_experiments()) == ["one", "two"]  # sorted by id


def test_folder_that_does_not_exist_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNRL_EXPERIMENTS", str(tmp_path / "nowhere"))
    assert registry.experiment_folders() == []
    assert registry.all_experiments() == {}


def test_folder_named_twice_is_searched_once(tmp_path, monkeypatch):
    folder = write(tmp_path / "here/experiments/one.py", "one").parent
    monkeypatch.setenv("SYNRL_EXPERIMENTS", os.pathsep.join([str(folder), "experiments"]))
    assert registry.experiment_folders() == [folder]


def test_first_match_of_an_id_wins(tmp_path, monkeypatch):
    write(tmp_path / "named/x.py", "same", "named")
    write(tmp_path / "here/experiments/x.py", "same", "here")
    write(tmp_path / "elsewhere/experiments/x.py", "same", "package")
    assert registry.get_experiment("same").summary == "here"
    monkeypatch.setenv("SYNRL_EXPERIMENTS", str(tmp_path / "named"))
    assert registry.get_experiment("same").summary == "named"


def test_file_that_does_not_name_the_package_is_not_run(tmp_path):
    trap = tmp_path / "here/experiments/trap.py"
    trap.parent.mkdir()
    trap.write_text("open('was_run', 'w').close()\nraise ValueError")
    assert registry.all_experiments() == {}
    assert not (tmp_path / "here/was_run").exists()


@pytest.mark.parametrize("content", ["import synrl_ray", "import synrl_ray\nexperiment = 3", b"\xff\xfe not text"])
def test_file_without_an_experiment_is_passed_over(tmp_path, content):
    path = tmp_path / "here/experiments/other.py"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert registry.all_experiments() == {}


def test_files_in_subfolders_and_of_other_kinds_are_passed_over(tmp_path):
    write(tmp_path / "here/experiments/results/deep.py", "deep")
    write(tmp_path / "here/experiments/notes.txt", "notes")
    assert registry.all_experiments() == {}


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("Stopping()", "TypeError: "),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_file_that_fails_to_load_is_reported_in_one_line(tmp_path, extra, reason):
    path = write(tmp_path / "here/experiments/bad.py", "bad", extra=extra)
    with pytest.raises(UserError) as caught:
        registry.all_experiments()
    line = str(caught.value)
    assert line.startswith(f"{path} does not load ({reason}")
    assert "\n" not in line


def test_experiment_file_may_define_dataclasses(tmp_path):
    path = write(tmp_path / "here/experiments/one.py", "one", extra="\nfrom dataclasses import dataclass\n")
    path.write_text(
        "from __future__ import annotations\n" + path.read_text() + "@dataclass\nclass Size:\n    width: int\n"
    )
    assert list(registry.all_experiments()) == ["one"]


def test_entries_that_are_no_files_are_passed_over(tmp_path):
    (tmp_path / "here/experiments/folder.py").mkdir(parents=True)
    (tmp_path / "here/experiments/dangling.py").symlink_to("nowhere")
    assert registry.all_experiments() == {}


def test_unknown_experiment_comes_with_the_nearest(tmp_path):
    write(tmp_path / "here/experiments/a.py", "cartpole-ppo")
    write(tmp_path / "here/experiments/b.py", "zzz")
    with pytest.raises(UserError) as caught:
        registry.get_experiment("cartpole-pp")
    assert caught.value.message == "unknown experiment 'cartpole-pp'"
    assert caught.value.remedy == "did you mean cartpole-ppo? `synrl list` shows all"


def test_unknown_experiment_without_a_near_one_names_all(tmp_path):
    write(tmp_path / "here/experiments/a.py", "cartpole-ppo")
    write(tmp_path / "here/experiments/b.py", "maze-stdp")
    with pytest.raises(UserError, match="did you mean cartpole-ppo, maze-stdp"):
        registry.get_experiment("zzzz")
