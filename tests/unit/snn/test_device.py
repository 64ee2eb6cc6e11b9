"""How a process that learns computes."""

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
