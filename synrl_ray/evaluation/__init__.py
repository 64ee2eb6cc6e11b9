"""How good a policy is, and how to show it: episodes, statistics, curves, films. Knows nothing of Ray."""

from synrl_ray.evaluation.curves import Curve, EvaluationCurve, learning_curve
from synrl_ray.evaluation.episodes import BatchPolicy, EvaluationResult, evaluate_policy
from synrl_ray.evaluation.statistics import Summary, bootstrap_band, iqm, stratified_bootstrap_interval, summarise
from synrl_ray.evaluation.video import Recording, record_episode

__all__ = [
    "BatchPolicy",
    "Curve",
    "EvaluationCurve",
    "EvaluationResult",
    "Recording",
    "Summary",
    "bootstrap_band",
    "evaluate_policy",
    "iqm",
    "learning_curve",
    "record_episode",
    "stratified_bootstrap_interval",
    "summarise",
]
