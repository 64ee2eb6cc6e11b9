"""Whose checkpoint it is: a stranger can neither forge a seal nor change what was sealed."""

import hashlib
import json
import os
import pickle
import stat

import pytest

from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.seal import Seal, examine, seal
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.trust import require_own


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "me"))
    return tmp_path / "me"


@pytest.fixture
def folder(tmp_path, home):
    (tmp_path / "sealed" / "deep").mkdir(parents=True)
    (tmp_path / "sealed" / "deep" / "weights").write_bytes(b"1234")
    seal(tmp_path / "sealed")
    return tmp_path / "sealed"


def test_what_is_sealed_here_is_whole_and_own(folder, home):
    assert examine(folder) == Seal(whole=True, own=True)
    key = home / "synrl_ray" / "checkpoint.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == [key.name]
    before = key.read_bytes()
    seal(folder)
    assert key.read_bytes() == before


def test_another_user_sees_that_it_is_whole_but_not_own(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody"))
    assert examine(folder) == Seal(whole=True, own=False)
    (tmp_path / "other").mkdir()
    seal(tmp_path / "other")  # somebody has a key from now on
    assert examine(folder) == Seal(whole=True, own=False)


def test_a_changed_file_under_a_new_digest_is_not_own(folder):
    kept = json.loads((folder / "seal.json").read_text())
    (folder / "deep" / "weights").write_bytes(b"evil")
    assert examine(folder) == Seal(whole=False, own=False)
    total = hashlib.sha256(f"{hashlib.sha256(b'evil').hexdigest()} deep/weights\n".encode()).hexdigest()
    (folder / "seal.json").write_text(json.dumps({**kept, "sha256": total}))
    assert examine(folder) == Seal(whole=True, own=False)


def test_a_renamed_file_is_damage(folder):
    os.rename(folder / "deep" / "weights", folder / "weights")
    assert not examine(folder).whole


def test_without_a_home_nothing_is_own(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    (tmp_path / "sealed").mkdir()
    seal(tmp_path / "sealed")
    assert examine(tmp_path / "sealed") == Seal(whole=True, own=False)


def stranger_run(tmp_path, monkeypatch, experiment="cartpole-ppo"):
    """A run folder whose checkpoint executes something when it is loaded, sealed by its maker."""
    spec = RunSpec(experiment=get_experiment(experiment), policy="spiking", seed=0, num_workers=0)
    run = RunFolder.create(tmp_path / "run", spec)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "stranger"))

        def write(path):
            path.mkdir()
            (path / "algorithm_state.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
            (path / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "executed")))

        run.save_checkpoint(write, Position(iteration=1, steps=2048))
    return run, spec


def test_a_strangers_checkpoint_is_refused_before_anything_of_it_is_loaded(tmp_path, monkeypatch, home, capsys):
    run, spec = stranger_run(tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--resume", str(run.path)])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was not made by you on this machine" in line
    assert "--trust" in line
    with pytest.raises(UserError, match="pickles"):
        require_own(run, spec)
    assert not (tmp_path / "executed").exists()


def test_plain_tensors_need_no_trust(tmp_path, monkeypatch, home):
    run, spec = stranger_run(tmp_path, monkeypatch, experiment="sinusoid-maml")
    require_own(run, spec)
