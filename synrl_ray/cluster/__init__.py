"""A local Ray head and the jobs that are sent to one. Importing this loads no Ray."""

from __future__ import annotations

from synrl_ray.cluster.head import Head, environment_for, head_environment, running_head, start_head, stop_head
from synrl_ray.cluster.package import DEFAULT_SIZE_LIMIT, Package, measure_package
from synrl_ray.cluster.submit import JobOutcome, follow_job, stop_job, submit_job

__all__ = [
    "DEFAULT_SIZE_LIMIT",
    "Head",
    "JobOutcome",
    "Package",
    "environment_for",
    "follow_job",
    "head_environment",
    "measure_package",
    "running_head",
    "start_head",
    "stop_head",
    "stop_job",
    "submit_job",
]
