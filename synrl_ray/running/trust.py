"""What is asked of a run folder before a run goes on in it; it may be a stranger's."""

from __future__ import annotations

from typing import Any

from synrl_ray.running.kind import Kind
from synrl_ray.running.lock import require_no_links
from synrl_ray.running.run_folder import RunFolder


def only_own(kind: Kind[Any], trust: bool) -> bool:
    """Whether a run restores checkpoints of this user only: those that are pickles, unless the user trusts them."""
    return kind.pickles and not trust


def require_resumable(folder: RunFolder, kind: Kind[Any], *, trust: bool) -> None:
    """Say at once, before Ray is started, why a run cannot go on. What is loaded later is checked again then.

    Raises:
        UserError: for checkpoints that are damaged, gone or a stranger's pickles, or a link that leads out of the
            folder.
    """
    require_no_links(folder.path, "run folder")
    found = folder.checkpoint()
    if found is not None and only_own(kind, trust):
        found.require_own()
