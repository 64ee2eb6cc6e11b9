from synrl_ray.evaluation.inner_steps_figure import AdaptedSeed, inner_steps_figure


def test_a_line_for_each_seed_and_one_from_scratch_within_sight():
    seeds = [
        AdaptedSeed("ann, seed 0", (-16.0, -2.0, -0.5), (1.0, 0.5, 0.1)),
        AdaptedSeed("b", (-15, -3, -1), (1, 1, 1)),
    ]
    (axes,) = inner_steps_figure(seeds, (-800.0, -700.0, -600.0), title="t", ylabel="mean return").axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines if not line.get_label().startswith("_")}
    assert lines == {"from scratch, out of sight": [-800.0, -700.0, -600.0]}
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()][1:] == ["ann, seed 0", "b"]
    assert axes.containers[0].lines[0].get_ydata().tolist() == [-16.0, -2.0, -0.5]
    assert axes.get_ylim()[0] > -50  # a start that is lost leaves room for those that are not
    (axes,) = inner_steps_figure(seeds[:1], (), title="t", ylabel="mean return").axes
    assert axes.get_xlabel() == "inner steps on a test task"
