"""How a process that learns computes."""

import subprocess
import sys

import torch

from synrl_ray.snn.device import compute_alone


def test_memory_is_not_filled_where_algorithms_are_deterministic():
    before = torch.utils.deterministic.fill_uninitialized_memory, torch.get_num_threads()
    try:
        torch.use_deterministic_algorithms(True)
        compute_alone()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            torch.empty(1_000)
        assert not [event.name for event in seen.events() if "fill" in event.name]
        assert torch.get_num_threads() == 1
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = before[0]
        torch.set_num_threads(before[1])


def test_what_is_imported_is_left_to_itself_by_the_collector_once():
    code = "import gc; from synrl_ray.snn.device import compute_alone; compute_alone(); first = gc.get_freeze_count();"
    code += "later = [[] for _ in range(1_000)]; compute_alone(); print(first, gc.get_freeze_count())"
    first, second = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(first) > 100_000
    assert int(second) <= int(first)
