import numpy as np
import pytest

from synrl_ray.evaluation.plasticity_figure import draw_plasticity

ROWS = [
    {
        "env_steps": steps,
        "plasticity_weight_mean": steps / 10,
        "plasticity_stdp_share": 0.1,
        "plasticity_td_error": None,
    }
    for steps in (10, 20)
]


def test_histograms_and_lines_become_one_picture(tmp_path):
    for number, distributions in enumerate(({}, {"weights": np.arange(5)}, {"a": np.ones((2, 3)), "b": np.zeros(1)})):
        path = tmp_path / f"{number}.png"
        draw_plasticity(ROWS, distributions, path, title="a test")
        assert path.read_bytes().startswith(b"\x89PNG")
    draw_plasticity([], {"weights": np.arange(5)}, tmp_path / "alone.svg", title="a test")
    assert "<svg" in (tmp_path / "alone.svg").read_text()


def test_nothing_to_draw_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="no diagnostics"):
        draw_plasticity([{"env_steps": 1}], {}, tmp_path / "x.png", title="a test")
    assert not list(tmp_path.iterdir())
