"""Every class of settings refuses what its annotations do not allow, wherever it is made; and keeps what they allow."""

import importlib
import json
import math
import pickle
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest

import synrl_ray.settings
from synrl_ray.experiment import PPO, AnnPolicy, AtariFrames, Choice, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.registry import all_experiments
from synrl_ray.settings.checked import SettingError, from_json, setting_types, settings_class, to_json
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.search import Uniform

NAMES = [module.name for module in pkgutil.iter_modules(synrl_ray.settings.__path__)]
MODULES = [importlib.import_module(f"synrl_ray.settings.{name}") for name in NAMES]
CLASSES = [
    cls
    for module in MODULES
    for cls in vars(module).values()
    if is_dataclass(cls) and cls.__module__ == module.__name__
]
EXPERIMENTS = all_experiments()
REQUIRED = {
    "Environment": {"id": "A-v0"},
    "EnvironmentTasks": {"id": "A-v0", "parameters": {"x": Uniform(0, 1)}},
    "Stopping": {"env_steps": 1},
    "EnvSteps": {"env_steps": 1},
    "LocalStopping": {"env_steps": 1},
    "EvolutionStopping": {"env_steps": 1},
    "Epochs": {"epochs": 1},
    "MetaStopping": {"meta_iterations": 1},
    "Gradient": {"grad_clip": 1.0},
    "OnPolicy": {"grad_clip": 1.0},
    "NumberRange": {"low": 0.1, "high": 0.2},
    "Uniform": {"low": 0.1, "high": 0.2},
    "LogUniform": {"low": 0.1, "high": 0.2},
    "Choice": {"options": (1, 2)},
    "BaseTarget": {"source": "a test"},
    "Target": {"source": "a test", "mean_return": 1.0},
    "RegretTarget": {"source": "a test", "regret": 1.0},
    "PathTarget": {"source": "a test", "success_rate": 1.0, "path_ratio": 1.0},
    "ReturnTarget": {"source": "a test", "mean_return": 1.0},
    "AccuracyTarget": {"source": "a test", "accuracy": 1.0},
    "MetaTarget": {"source": "a test"},
    "BaseExperiment": {"id": "a", "summary": "b"},
    "SpaceFacts": {
        "observations": "vectors", "size": 1, "have_spread": True, "actions": "discrete", "num_actions": 2,
        "time_limit": None,
    },
}  # fmt: skip


@cache
def example(cls):
    """An object of the class: by its defaults, or one that an experiment file has."""
    if found := [e for e in EXPERIMENTS.values() if type(e) is cls]:
        return found[0]
    return cls(**REQUIRED.get(cls.__name__, {}))


def wrong_values(annotation: Any) -> list[Any]:
    """Values that the annotation does not allow: on the wrong side of a bound, of another type, no number."""
    args, origin = get_args(annotation), get_origin(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = wrong_values(args[0])
        if args[0] not in (int, float):
            return inner
        wrong: list[Any] = []
        grouped = [item if isinstance(item, annotated_types.Interval) else (item,) for item in args[1:]]
        for bound in (part for group in grouped for part in group):
            step = 1 if args[0] is int else 1e-6
            match bound:
                case annotated_types.Ge(ge):
                    wrong.append(args[0](ge - step))
                case annotated_types.Gt(gt):
                    wrong.append(args[0](gt))
                case annotated_types.Le(le):
                    wrong.append(args[0](le + step))
                case annotated_types.Lt(lt):
                    wrong.append(args[0](lt))
        return [*inner, *wrong]
    if annotation is int:
        return [True, 1.5, "1"]
    if annotation is float:
        return [True, math.nan, math.inf, -math.inf, "1.0"]
    if annotation is bool:
        return [1, "true"]
    if annotation is str:
        return [3]
    if origin is Literal:
        return ["none of these", 3]
    if origin is tuple:
        return [1.5] if args[0] is Any else [("none of these",), 1.5]
    if origin is Union or type(annotation).__name__ == "UnionType":
        parts = [get_args(part)[0] if hasattr(part, "__metadata__") else part for part in args]
        return [value for value, taken in (("none of these", str), (2.5, float)) if taken not in parts]
    if is_dataclass(annotation):
        return [3, None]
    return []


CASES = [
    pytest.param(cls, item.name, wrong, id=f"{cls.__name__}.{item.name}={wrong!r}")
    for cls in CLASSES
    for item in fields(cls)
    for wrong in wrong_values(setting_types(cls)[item.name])
]


def test_there_are_many_cases():
    assert len(CLASSES) > 40
    assert len(CASES) > 600


@pytest.mark.parametrize(("cls", "name", "wrong"), CASES)
def test_a_value_outside_of_the_annotation_is_refused_by_name(cls, name, wrong):
    right = example(cls)
    with pytest.raises(SettingError) as caught:
        replace(right, **{name: wrong})
    line = str(caught.value)
    assert line.startswith(f"{cls.__name__}.{name}")
    assert len(line.splitlines()) == 1
    assert "must be" in line
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_unknown_name_is_refused(cls):
    with pytest.raises(SettingError, match=rf"^{cls.__name__}\.no_such_setting is no setting"):
        replace(example(cls), no_such_setting=3)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_missing_value_is_named(cls):
    right = {item.name: getattr(example(cls), item.name) for item in fields(cls)}
    for item in fields(cls):
        if item.default is MISSING and item.default_factory is MISSING:
            with pytest.raises(SettingError, match=rf"^{cls.__name__}\.{item.name} is missing$"):
                cls(**{name: value for name, value in right.items() if name != item.name})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_it_survives_pickle_replace_and_json(cls):
    right = example(cls)
    assert pickle.loads(pickle.dumps(right)) == right
    assert replace(right) == right
    assert from_json(cls, json.loads(json.dumps(to_json(right)))) == right
    assert to_json(right) == json.loads(json.dumps(asdict(right)))
    assert (
        replace(right, **{item.name: getattr(right, item.name) for item in fields(cls)}) == right
    )  # defaults are valid


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_of_before_whose_kind_was_called_task_still_loads(name):
    from synrl_ray.overrides import experiment_from_json, experiment_to_json

    data = experiment_to_json(EXPERIMENTS[name])
    old = {"task": data["kind"], **{key: value for key, value in data.items() if key != "kind"}}
    assert experiment_from_json(old) == EXPERIMENTS[name]


def test_no_name_of_a_type_is_defined_twice():
    defined: Counter[str] = Counter()
    for module in MODULES:
        source = Path(str(module.__file__)).read_text()
        defined.update(line.split(" = ")[0] for line in source.splitlines() if line[:1].isupper() and " = " in line)
    assert {name for name, count in defined.items() if count > 1} == set()
    assert {"Count", "Positive", "Fraction", "Sizes", "Steps"} <= set(defined)


def test_whole_numbers_become_floats_and_lists_tuples_and_nothing_else_is_converted():
    assert type(PPO(lr=1).lr) is float
    assert SpikingPolicy(hidden_sizes=[8, 9]).hidden_sizes == (8, 9)
    assert AnnPolicy(conv_layers=[[8, 3, 1]]).conv_layers == ((8, 3, 1),)
    for settings in ({"lr": "1e-3"}, {"num_epochs": 2.0}, {"lr_decay": 0}):
        with pytest.raises(SettingError):
            PPO(**settings)


def test_settings_that_do_not_fit_one_another_are_named_with_their_class_and_place():
    with pytest.raises(SettingError, match=r"^SpikingPolicy: encoder_low is 2, not below encoder_high, 1$"):
        SpikingPolicy(encoder_low=2.0, encoder_high=1.0)
    data = to_json(EXPERIMENTS["cartpole-ppo"])
    data["spiking"] |= {"encoder_low": 2.0, "encoder_high": 1.0}
    with pytest.raises(SettingError, match=r"^spiking: encoder_low is 2"):
        from_json(Experiment, data)


def test_settings_are_given_by_name():
    with pytest.raises(SettingError, match=r"^PPO takes settings by name$"):
        PPO(1e-3)


def test_an_error_travels_between_processes():
    with pytest.raises(SettingError) as caught:
        PPO(lr=-1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.place) == (SettingError, "PPO.lr must be > 0, got -1", ("PPO", "lr"))


def test_of_several_types_all_are_named_where_none_took_any_of_the_value():
    with pytest.raises(
        SettingError, match=r"^AnnPolicy.conv_layers must be 'nature' or 'small' or a list, got 'large'$"
    ):
        AnnPolicy(conv_layers="large")
    with pytest.raises(SettingError, match=r"^AnnPolicy.conv_layers\[0\]\[1\] must be >= 1, got 0$"):
        AnnPolicy(conv_layers=((8, 0, 1),))


def test_a_long_value_is_cut():
    with pytest.raises(SettingError) as caught:
        Environment(id="A" * 10_000)
    assert len(str(caught.value)) < 150


def test_nested_settings_are_named_by_their_path():
    given = {"id": "A-v0", "preprocessing": {"name": "atari", "frame_skip": 0}}
    with pytest.raises(SettingError, match=r"^environment.preprocessing.frame_skip must be >= 1, got 0$"):
        from_json(Environment, given, "environment")
    assert Environment(id="A-v0", preprocessing=AtariFrames()).preprocessing == AtariFrames()


def test_a_subclass_of_settings_holds_what_it_inherits():
    @settings_class
    class Mine(Stopping):
        patience: int = 3

    assert Mine(env_steps=2).patience == 3
    with pytest.raises(SettingError, match=r"^Mine.env_steps must be >= 1, got 0$"):
        Mine(env_steps=0)


def test_importing_them_builds_no_validator_and_imports_neither_torch_nor_ray():
    code = (
        "import sys, synrl_ray.experiment\n"
        "from synrl_ray.settings import checked\n"
        "heavy = {'torch', 'ray', 'numpy', 'gymnasium'} & set(sys.modules)\n"
        "print(checked._adapter.cache_info().currsize, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 []"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"low": 0.5, "high": 0.9, "kind": 0}, ".kind must be 'log_uniform', 'uniform' or 'choice', got 0"),
        ({"low": 0.5, "high": 0.9}, ".kind is missing: choose 'log_uniform', 'uniform' or 'choice'"),
        ({"low": 0.5, "high": 0.9, "hihg": 1.0, "kind": "uniform"}, ".hihg is no setting: did you mean high?"),
        ({"low": 0.5, "high": "1", "kind": "uniform"}, ".high must be a number, got '1'"),
    ],
)
def test_settings_that_are_values_of_a_dictionary_are_named_by_their_key(bad, message):
    data = to_json(EXPERIMENTS["cartpole-ppo"])
    data["search_space"]["spiking.beta"] = bad
    with pytest.raises(SettingError, match=re.escape(f"search_space['spiking.beta']{message}")):
        from_json(Experiment, data)


def test_options_of_a_dictionary_are_what_a_file_gives_back():
    options = ({"size": (3, 4)}, {})
    wide = replace(EXPERIMENTS["cartpole-ppo"], search_space={"environment.kwargs": Choice(options)})
    assert wide.search_space["environment.kwargs"].options == ({"size": [3, 4]}, {})


def test_options_that_are_settings_themselves_survive_a_file():
    options = (None, PlasticLayers(layers=(1,)))
    wide = replace(EXPERIMENTS["cartpole-ppo"], search_space={"spiking.plastic": Choice(options)})
    assert from_json(Experiment, to_json(wide)) == wide
    data = to_json(wide)
    data["search_space"]["spiking.plastic"]["options"][1]["layers"] = "all"
    with pytest.raises(SettingError, match=re.escape("search_space['spiking.plastic'].layers must be")):
        from_json(Experiment, data)
