"""Caches of compiled kernels that are older than a source are dropped, others are kept."""

import os

from synrl_ray.snn.compiled import drop_stale_caches


def test_only_what_is_older_than_a_source_is_dropped(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    times = {"a_kernels.py": 100, "b_kernel.py": 200, "other.py": 900}
    for name, time in times.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    for name, time in {"a_kernels.f-1.nbi": 150, "b_kernel.g-1.nbi": 250, "other.h-1.nbi": 10}.items():
        (cache / name).touch()
        os.utime(cache / name, (time, time))
    assert [path.name for path in drop_stale_caches(tmp_path)] == ["a_kernels.f-1.nbi"]
    assert sorted(path.name for path in cache.iterdir()) == ["b_kernel.g-1.nbi", "other.h-1.nbi"]


def test_a_folder_without_caches(tmp_path):
    assert drop_stale_caches(tmp_path) == []
