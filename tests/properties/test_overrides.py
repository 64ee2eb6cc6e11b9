"""Whatever can be set, survives the way through the command line and through JSON."""

import json
import math
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache, reduce
from typing import get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.errors import UserError
from synrl_ray.overrides import (
    apply_overrides,
    changed_settings,
    experiment_from_json,
    experiment_to_json,
)
from synrl_ray.registry import all_experiments
from synrl_ray.settings.paths import setting_paths
from synrl_ray.settings.search import Uniform

EXPERIMENTS = list(all_experiments().values())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


def made_of(annotation):
    """The classes of settings that an annotation is made of."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [annotation]
    return [cls for part in get_args(annotation) for cls in made_of(part)]


@cache
def tell_of_factories(cls):
    """Hypothesis takes the mark of a default that is made anew for a value, so it is told to make it."""
    made = {item.name: st.builds(item.default_factory) for item in fields(cls) if item.default_factory is not MISSING}
    if made:
        st.register_type_strategy(cls, st.builds(cls, **made))
    for annotation in get_type_hints(cls, include_extras=True).values():
        for inner in made_of(annotation):
            tell_of_factories(inner)


def value_at(experiment, path):
    return reduce(getattr, filter(None, path.split(".")), experiment)


def is_finite(value):
    return (
        all(map(is_finite, value)) if isinstance(value, tuple) else not isinstance(value, float) or math.isfinite(value)
    )


@cache
def values_for(experiment_index, path):
    """A strategy for the valid values of a setting, from its annotation."""
    parent, _, name = path.rpartition(".")
    annotation = get_type_hints(type(value_at(EXPERIMENTS[experiment_index], parent)), include_extras=True)[name]
    if path == "tasks.parameters":
        return st.dictionaries(st.text(), st.floats(0, 1).map(lambda low: Uniform(low, low + 1)), max_size=3)
    if path.endswith(".kwargs") or path == "held_out":
        return st.dictionaries(st.text(), json_values, max_size=3)
    if path in ("spiking.network", "tasks.sampler"):  # Hypothesis knows no patterns of pydantic's
        return st.none() | st.from_regex(r"\A[a-z_]{1,9}(\.[a-z]{1,9})?:[A-Z][a-z]{0,9}\Z")
    for cls in made_of(annotation):
        tell_of_factories(cls)
    return st.from_type(annotation).filter(is_finite)


@st.composite
def overrides(draw):
    """An experiment, and valid values for some of its settings."""
    index = draw(st.integers(0, len(EXPERIMENTS) - 1))
    paths = draw(st.lists(st.sampled_from(setting_paths(EXPERIMENTS[index])), max_size=5, unique=True))
    return EXPERIMENTS[index], {path: draw(values_for(index, path)) for path in paths}


def refuse_constant(constant):
    raise AssertionError(f"{constant} is not JSON")


@settings(deadline=None, max_examples=60)
@given(overrides())
def test_valid_overrides_arrive_and_survive_json_or_do_not_fit(case):
    experiment, values = case
    assignments = [f"{path}={json.dumps(value, default=asdict)}" for path, value in values.items()]
    changed, error = None, None
    try:
        changed = apply_overrides(experiment, assignments)
    except UserError as refusal:  # each is valid, but they do not fit one another or the experiment's other settings
        error = refusal
    if changed is None:
        assert "not fit" in error.message
        assert len(str(error).splitlines()) == 1
        return
    if changed.target is None and hasattr(experiment.stopping, "mean_return"):
        values.setdefault("stopping.mean_return", None)  # it was for another environment
    for path in setting_paths(experiment):
        assert value_at(changed, path) == values.get(path, value_at(experiment, path))
    assert apply_overrides(experiment, changed_settings(changed, experiment)) == changed
    text = json.dumps(experiment_to_json(changed))
    assert experiment_from_json(json.loads(text, parse_constant=refuse_constant)) == changed


@settings(deadline=None, max_examples=100)
@given(path=st.sampled_from(setting_paths(EXPERIMENTS[0])), text=st.text(max_size=12))
def test_any_text_is_taken_or_refused_in_one_line(path, text):
    changed, error = None, None
    try:
        changed = apply_overrides(EXPERIMENTS[0], [f"{path}={text}"])
    except UserError as refusal:
        error = refusal
    if changed is not None:
        assert experiment_from_json(experiment_to_json(changed)) == changed
    else:
        assert len(str(error).splitlines()) == 1
        assert error.message == f"setting {path!r} cannot be {text.strip()!r}"


@settings(deadline=None, max_examples=60)
@given(key=st.text(max_size=12).filter(lambda key: "=" not in key))
def test_any_key_is_a_setting_or_refused(key):
    paths = setting_paths(EXPERIMENTS[0])
    known = key.strip() == "env" or any(p == key.strip() or p.endswith(f".{key.strip()}") for p in paths)
    if known and key.strip():
        return
    with pytest.raises(UserError, match="unknown setting"):
        apply_overrides(EXPERIMENTS[0], [f"{key}=1"])
