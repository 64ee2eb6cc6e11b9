import numpy as np
import pytest

from synrl_ray.evaluation.adaptation_figure import AdaptedTask, draw_adaptation


@pytest.mark.parametrize("start", [(1, 0), None])
def test_the_picture_is_written_and_grows_with_tasks(tmp_path, start):
    free = np.ones((2, 3), bool)
    free[0, 1] = False
    task = AdaptedTask(free, (0, 2), start, [np.eye(2, 3), np.full((2, 3), 0.4)], [1.0, 0.05])
    sizes = []
    for count in (1, 3):
        path = tmp_path / f"{count}.png"
        draw_adaptation([task] * count, (0, 3), path, title="x")
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        sizes.append(int.from_bytes(data[20:24], "big"))  # the height
    assert sizes[0] < sizes[1]
