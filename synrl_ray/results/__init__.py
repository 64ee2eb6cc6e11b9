"""What a run has come to, in one form: typed, versioned, written and read here only. No torch, no Ray."""

from synrl_ray.results.comparing import differences
from synrl_ray.results.file import RESULT_FILE, read_result, write_result
from synrl_ray.results.provenance import Provenance, code_commit, versions
from synrl_ray.results.schema import Adaptation, Episodes, Film, Interval, Result, TargetReached, Training

__all__ = [
    "RESULT_FILE",
    "Adaptation",
    "Episodes",
    "Film",
    "Interval",
    "Provenance",
    "Result",
    "TargetReached",
    "Training",
    "code_commit",
    "differences",
    "read_result",
    "versions",
    "write_result",
]
