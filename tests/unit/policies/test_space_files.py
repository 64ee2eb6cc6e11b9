import json
from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.envs.flat import FlatSpace
from synrl_ray.policies.space_files import space_from_json, space_to_json

INF = np.inf
ONE = {"type": "Discrete", "n": 2, "start": 0}
NESTED = ONE
for _ in range(17):
    NESTED = {"type": "Tuple", "spaces": [NESTED]}


def box(low, high, dtype=np.float32):
    return spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5),
        spaces.Discrete(5, start=-2),
        box([-1, -1], [1, 1]),
        box([-INF, 0.1], [INF, 0.7]),
        box([0, -INF], [INF, 1]),
        spaces.Box(-1, 1, (2, 3), np.float64),
        spaces.Box(0, 255, (2, 2, 3), np.uint8),
        spaces.Box(0, 1, (), np.float32),
        spaces.MultiDiscrete([2, 5]),
        spaces.MultiDiscrete([2, 5], start=[-1, 7]),
        spaces.MultiDiscrete([[2, 5], [1, 3]], dtype=np.int32),
        spaces.MultiBinary(3),
        spaces.MultiBinary([2, 3]),
        spaces.Tuple((spaces.Discrete(2), spaces.Dict({"a": spaces.MultiBinary(2), "b": box([0], [1])}))),
        spaces.Dict(OrderedDict(z=spaces.Discrete(2), a=spaces.Tuple((box([-INF], [INF]),)))),
        spaces.Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (2,), np.float32),
    ],
    ids=str,
)
def test_space_survives_strict_json(space):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = json.dumps(space_to_json(space), allow_nan=False)
    back = space_from_json(json.loads(text, parse_constant=refuse))
    assert back == space
    assert back.dtype == space.dtype
    if isinstance(space, spaces.Dict):
        assert list(back) == list(space)


def test_a_flat_space_is_written_as_what_it_was_made_of():
    original = spaces.Dict({"a": spaces.Discrete(2), "b": box([0], [1])})
    assert space_to_json(FlatSpace(original)) == space_to_json(original)


def test_equal_bounds_are_written_once_and_infinities_as_text():
    assert space_to_json(spaces.Box(-INF, INF, (1000,), np.float32)) == {
        "type": "Box",
        "shape": [1000],
        "dtype": "float32",
        "low": "-inf",
        "high": "inf",
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"type": "Graph"}, "unknown space type 'Graph'"),
        ({"type": "Dict"}, "not a space description"),
        ({"type": "Dict", "spaces": [["a", {"type": "Graph"}]]}, "a part of an unknown type"),
        ({"type": "Dict", "spaces": [["a", ONE], ["a", ONE]]}, "twice the same"),
        ({"type": "Dict", "spaces": [[3, ONE]]}, "no text"),
        ({"type": "Tuple", "spaces": [{"type": "Discrete", "n": 2**40, "start": 0}]}, "4,194,304 are the most"),
        ({"type": "MultiDiscrete", "nvec": [2**40], "start": [0], "dtype": "int64"}, "4,194,304 are the most"),
        ({"type": "MultiDiscrete", "nvec": [2, 0], "start": [0, 0], "dtype": "int64"}, "not a space description"),
        ({"type": "MultiDiscrete", "nvec": [2], "start": [0, 0], "dtype": "int64"}, "not a space description"),
        ({"type": "MultiDiscrete", "nvec": [2], "start": [0], "dtype": "float64"}, "is no number"),
        ({"type": "MultiBinary", "shape": [2**40]}, "4,194,304 are the most"),
        ({"type": "MultiBinary", "shape": []}, "not a space description"),
        (NESTED, "spaces in one another, 16 deep"),
        ({"type": "Discrete", "n": 3}, "not a space description"),
        ({"type": "Box", "shape": [2], "dtype": "float32", "low": 1, "high": 0}, "low values must be less"),
        ({"type": "Box", "shape": [2], "dtype": "nonsense", "low": 0, "high": 1}, "'nonsense' not understood"),
        ({"type": "Box", "shape": [2], "dtype": "float32", "low": [0, 0, 0], "high": 1}, "not a space description"),
        (None, "not a space description"),
        ({"type": "Discrete", "n": -3, "start": 0}, "positive"),
    ],
)
def test_damaged_space_description_is_a_value_error(data, reason):
    with pytest.raises(ValueError, match=reason):
        space_from_json(data)


@pytest.mark.parametrize("nest", [lambda part: part, lambda part: {"type": "Tuple", "spaces": [part, part]}])
def test_no_part_is_made_that_is_too_much_beside_the_others(nest, monkeypatch):
    made, init = [], spaces.Box.__init__
    monkeypatch.setattr(spaces.Box, "__init__", lambda *given: made.append(given[3]) or init(*given))
    part = nest({"type": "Box", "shape": [2**21], "dtype": "float32", "low": 0, "high": 1})
    with pytest.raises(ValueError, match="6,291,456 numbers or more, 4,194,304 are the most"):
        space_from_json({"type": "Dict", "spaces": [[str(i), part] for i in range(8)]})
    assert made == [(2**21,)] * 2


def test_parts_that_fill_the_bound_are_made():
    bits = [{"type": "MultiBinary", "shape": [2**20]}] * 4
    assert len(space_from_json({"type": "Tuple", "spaces": bits}).spaces) == 4
    with pytest.raises(ValueError, match="4,194,305 numbers or more"):
        space_from_json({"type": "Tuple", "spaces": [*bits, {"type": "MultiBinary", "shape": [1]}]})
    with pytest.raises(ValueError, match="4,194,306 numbers or more"):
        space_from_json({"type": "Tuple", "spaces": [*bits, ONE]})
