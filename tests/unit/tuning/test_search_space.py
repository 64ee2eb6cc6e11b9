"""Ranges: what is drawn lies inside, is whole where it must be, and bad ones are one line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.errors import UserError
from synrl_ray.experiment import Choice, LogUniform, Uniform
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import all_experiments, get_experiment
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.search import is_whole
from synrl_ray.tuning.space import draw, num_combinations, search_space, within

PPO = get_experiment("cartpole-ppo")


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_valid_for_every_experiment(seed):
    generator = np.random.default_rng(seed)
    for experiment in all_experiments().values():
        for policy in experiment.policies:
            space = search_space(experiment, policy)
            found = draw(experiment, space, generator)
            assert found == json.loads(json.dumps(found))
            for path, bounds in space.items():
                if isinstance(bounds, Choice):
                    assert found[path] in [list(o) if isinstance(o, tuple) else o for o in bounds.options]
                else:
                    assert bounds.low <= found[path] <= bounds.high
            apply_overrides(experiment, (), found)


def test_a_logarithmic_range_is_uniform_in_the_logarithm():
    """Half of the draws from 1e-4..1e-2 lie below 1e-3."""
    space = search_space(PPO, "spiking", extra=["lr=log:1e-4..1e-2"])
    generator = np.random.default_rng(0)
    drawn = [draw(PPO, space, generator)["algorithm.lr"] for _ in range(2000)]
    assert 0.46 < np.mean(np.array(drawn) < 1e-3) < 0.54


def test_whole_settings_are_drawn_whole_with_both_ends():
    space = search_space(PPO, "spiking", extra=["num_epochs=2..4"])
    assert is_whole(PPO, "algorithm.num_epochs")
    assert not is_whole(PPO, "algorithm.lr")
    generator = np.random.default_rng(0)
    drawn = {draw(PPO, space, generator)["algorithm.num_epochs"] for _ in range(100)}
    assert drawn == {2, 3, 4}


def test_perturbed_values_come_back_inside():
    bounds = Uniform(0.0, 0.02)
    assert within(PPO, "algorithm.entropy_coeff", bounds, 0.024) == 0.02
    assert within(PPO, "algorithm.entropy_coeff", bounds, 0.0123456) == 0.01235
    assert within(PPO, "algorithm.lr", LogUniform(3.00001e-4, 3e-3), 1e-5) == 3.00001e-4
    assert within(PPO, "algorithm.num_epochs", Uniform(2.5, 8), 2.4) == 3


def test_ranges_from_the_command_line_replace_and_extend():
    space = search_space(
        PPO, "spiking", extra=["lr=1e-4..1e-3", "spiking.hidden_sizes=32,32/64,64", "surrogate=atan/fast_sigmoid"]
    )
    assert space["algorithm.lr"] == Uniform(1e-4, 1e-3)
    assert space["spiking.hidden_sizes"] == Choice(((32, 32), (64, 64)))
    assert space["spiking.surrogate"] == Choice(("atan", "fast_sigmoid"))
    assert space["spiking.beta"] == PPO.search_space["spiking.beta"]
    assert draw(PPO, space, np.random.default_rng(0))["spiking.hidden_sizes"] in ([32, 32], [64, 64])


def test_the_other_policy_and_what_is_set_by_hand_are_not_searched():
    assert set(search_space(PPO, "ann")) == {"algorithm.lr", "algorithm.entropy_coeff"}
    assert set(search_space(PPO, "spiking", fixed=["lr"])) == {"spiking.beta", "algorithm.entropy_coeff"}


def test_combinations():
    assert num_combinations({"a": Choice((1, 2)), "b": Choice((1, 2, 3))}) == 6
    assert num_combinations({"a": Choice((1, 2)), "b": Uniform(0, 1)}) == float("inf")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("lr", "--space 'lr' is not key=range"),
        ("lr=", "is not key=range"),
        ("lrr=0..1", "unknown setting 'lrr' — did you mean lr?"),
        ("lr=a..b", "--space lr=a..b is no range"),
        ("lr=log:3", "is no range"),
        ("lr=1e-2..1e-3", "--space lr=1e-2..1e-3 is no range (Uniform is empty: 0.01..0.001)"),
        ("lr=-1e308..1e308", "--space lr=-1e308..1e308 is no range (Uniform is too wide: -1e+308..1e+308)"),
        ("lr=log:1e-300..1e300", "--space lr=log:1e-300..1e300 is no range (LogUniform is too wide: 1e-300..1e+300)"),
        ("lr=0..nan", "Uniform.high must be finite, got nan"),
        ("lr=log:0..1", "LogUniform.low must be > 0, got 0.0"),
        ("lr=-1..1", "the range of algorithm.lr holds what does not work: PPO.lr must be > 0, got -1.0"),
        ("num_epochs=2.2..2.8", "holds no whole number"),
        ("surrogate=atan/nonsense", "setting 'surrogate' cannot be 'nonsense'"),
    ],
)
def test_bad_ranges(extra, expected):
    with pytest.raises(UserError) as caught:
        search_space(PPO, "spiking", extra=[extra])
    assert expected in str(caught.value)


def test_parts_of_settings_are_options_too():
    plastic = PlasticLayers(layers=(-1,))
    found = draw(PPO, {"spiking.plastic": Choice((plastic,))}, np.random.default_rng(0))
    assert found == json.loads(json.dumps(found))
    assert apply_overrides(PPO, (), found).spiking.plastic == plastic
