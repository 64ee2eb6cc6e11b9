"""What is asked of a run folder before a run goes on in it: no links, and no pickles of strangers unless trusted."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from synrl_ray.errors import UserError
from synrl_ray.running.checkpoints import Checkpoint, Position
from synrl_ray.running.trust import only_own, require_resumable


def kind(pickles):
    return SimpleNamespace(pickles=pickles)


def folder(path, own=None):
    found = None if own is None else Checkpoint(path / "checkpoint", path / "checkpoint" / "algorithm", Position(), own)
    return SimpleNamespace(path=path, checkpoint=lambda: found)


@pytest.mark.parametrize(
    ("pickles", "trust", "only"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_pickles_are_restored_of_this_user_only_unless_they_are_trusted(tmp_path: Path, pickles, trust, only):
    assert only_own(kind(pickles), trust) is only
    require_resumable(folder(tmp_path), kind(pickles), trust=trust)
    require_resumable(folder(tmp_path, own=True), kind(pickles), trust=trust)
    if only:
        with pytest.raises(UserError, match="was not made by you on this machine"):
            require_resumable(folder(tmp_path, own=False), kind(pickles), trust=trust)
    else:
        require_resumable(folder(tmp_path, own=False), kind(pickles), trust=trust)


@pytest.mark.parametrize("trust", [True, False])
def test_a_link_that_leads_out_of_the_folder_is_refused_whoever_is_trusted(tmp_path: Path, trust):
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (run / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="link"):
        require_resumable(folder(run, own=True), kind(False), trust=trust)
