"""How many cores an environment of C++ is played on."""

import os

import pytest
import ray

from synrl_ray.sampling.batched import _cores

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def test_a_worker_takes_what_ray_has_given_it_and_a_program_of_its_own_all() -> None:
    remote = ray.remote(_cores)
    assert ray.get(remote.options(num_cpus=1).remote()) == 1
    assert ray.get(remote.options(num_cpus=0.5).remote()) == 1
    assert _cores() == len(os.sched_getaffinity(0))
