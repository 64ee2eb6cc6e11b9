import json
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest

from synrl_ray.errors import UserError
from synrl_ray.experiment import (
    PPO,
    AnnPolicy,
    Choice,
    Environment,
    Experiment,
    LogUniform,
    SpikingPolicy,
    Stopping,
    Target,
    Uniform,
)
from synrl_ray.overrides import (
    apply_overrides,
    changed_settings,
    experiment_from_json,
    experiment_to_json,
)
from synrl_ray.registry import get_experiment
from synrl_ray.settings.paths import setting_paths

EXPERIMENT = Experiment(
    id="some-id",
    summary="something",
    environment=Environment(id="Some-v0", kwargs={"size": [3, 4], "slippery": False}),
    spiking=SpikingPolicy(),
    ann=AnnPolicy(),
    algorithm=PPO(),
    stopping=Stopping(env_steps=1000),
    target=Target(mean_return=-12.5, source="a paper"),
    search_space={
        "algorithm.lr": LogUniform(1e-4, 1e-2),
        "spiking.beta": Uniform(0.5, 0.9),
        "algorithm.minibatch_size": Choice((32, 64)),
    },
)


def value_at(experiment, path):
    return reduce(getattr, path.split("."), experiment)


def error_of(assignment):
    with pytest.raises(UserError) as caught:
        apply_overrides(EXPERIMENT, [assignment])
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("assignment", "path", "expected"),
    [
        ("algorithm.lr=3e-4", "algorithm.lr", 3e-4),
        ("lr=3e-4", "algorithm.lr", 3e-4),
        ("lr=1", "algorithm.lr", 1.0),
        (" lr = 0.5 ", "algorithm.lr", 0.5),
        ("env=Other-v1", "environment.id", "Other-v1"),
        ("environment.id=module:Other-v1", "environment.id", "module:Other-v1"),
        ("env=3", "environment.id", "3"),
        ("env=a=b", "environment.id", "a=b"),
        ('env="Quoted-v0"', "environment.id", "Quoted-v0"),
        ('environment.kwargs={"size": 9}', "environment.kwargs", {"size": 9}),
        ("num_envs=16", "environment.num_envs", 16),
        ("env_steps=1e5", "stopping.env_steps", 100_000),
        ("mean_return=-3", "stopping.mean_return", -3.0),
        ("stopping.mean_return=null", "stopping.mean_return", None),
        ("lr_decay=false", "algorithm.lr_decay", False),
        ("spiking.share_layers=true", "spiking.share_layers", True),
        ("reset=zero", "spiking.reset", "zero"),
        ("surrogate=atan", "spiking.surrogate", "atan"),
        ("surrogate_slope=2", "spiking.surrogate_slope", 2.0),
        ("surrogate_slope=null", "spiking.surrogate_slope", None),
        ("ann.hidden_sizes=8", "ann.hidden_sizes", (8,)),
        ("ann.hidden_sizes=8,9", "ann.hidden_sizes", (8, 9)),
        ("ann.hidden_sizes=8, 9,10", "ann.hidden_sizes", (8, 9, 10)),
        ("ann.hidden_sizes=[8, 9]", "ann.hidden_sizes", (8, 9)),
        ("gamma=1", "algorithm.gamma", 1.0),
        ("beta=0", "spiking.beta", 0.0),
    ],
)
def test_assignment_sets_this_value_and_no_other(assignment, path, expected):
    changed = apply_overrides(EXPERIMENT, [assignment])
    assert value_at(changed, path) == expected
    assert type(value_at(changed, path)) is type(expected)
    others = [p for p in setting_paths(EXPERIMENT) if p != path and value_at(changed, p) != value_at(EXPERIMENT, p)]
    assert others == []
    target = None if path in ("environment.id", "environment.kwargs") else EXPERIMENT.target
    assert (changed.id, changed.target, changed.search_space) == ("some-id", target, EXPERIMENT.search_space)


def test_target_is_for_the_tasks_it_was_set_for():
    experiment = get_experiment("omniglot-maml")
    assert apply_overrides(experiment, ["ways=5", "shots=1", "meta_batch=8"]).target == experiment.target
    assert apply_overrides(experiment, ["ways=20"]).target is None
    assert apply_overrides(EXPERIMENT, ["env=Some-v0"]).target == EXPERIMENT.target


def test_return_to_stop_at_goes_with_the_environment():
    experiment = get_experiment("cartpole-dqn")
    assert experiment.stopping.mean_return == 495
    assert apply_overrides(experiment, ["env=Acrobot-v1"]).stopping.mean_return is None
    assert apply_overrides(experiment, ["env=Acrobot-v1", "mean_return=-80"]).stopping.mean_return == -80
    assert apply_overrides(experiment, ["env=CartPole-v1"]) == experiment


def test_no_assignment_changes_nothing():
    assert apply_overrides(EXPERIMENT, []) == EXPERIMENT


def test_later_assignment_of_the_same_setting_wins():
    assert apply_overrides(EXPERIMENT, ["lr=0.1", "algorithm.lr=0.2"]).algorithm.lr == 0.2


@pytest.mark.parametrize("assignment", ["lr", "", "lr:3"])
def test_assignment_without_equals_sign_is_refused(assignment):
    assert error_of(assignment).message == f"--set {assignment!r} is not key=value"


@pytest.mark.parametrize(
    ("key", "paths"),
    [
        ("hidden_sizes", "spiking.hidden_sizes, ann.hidden_sizes"),
        ("share_layers", "spiking.share_layers, ann.share_layers"),
    ],
)
def test_short_name_of_two_settings_is_ambiguous(key, paths):
    error = error_of(f"{key}=8")
    assert (error.message, error.remedy) == (f"setting {key!r} is ambiguous", f"write one of {paths}")


@pytest.mark.parametrize(
    ("key", "nearest"), [("algoritm.lr", "algorithm.lr"), ("gama", "gamma"), ("num_env", "num_envs")]
)
def test_unknown_setting_comes_with_the_nearest_names(key, nearest):
    error = error_of(f"{key}=8")
    assert error.message == f"unknown setting {key!r}"
    assert nearest in error.remedy
    assert error.remedy.endswith("?")


def test_unknown_setting_comes_with_all_valid_paths():
    assert error_of("zzzzzz=8").remedy == f"valid are {', '.join(setting_paths(EXPERIMENT))}"


@pytest.mark.parametrize(
    "key",
    [
        "summary",
        "task",
        "target",
        "search_space",
        "algorithm.name",
        "spiking.kind",
        "algorithm",
        "lr.x",
        "",
        "target.source",
    ],
)
def test_what_is_no_setting_cannot_be_set(key):
    assert error_of(f"{key}=1").message == f"unknown setting {key!r}"


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("lr=fast", "must be a number"),
        ("lr=", "must be a number"),
        ("lr=0", "must be > 0"),
        ("lr=nan", "must be a number"),
        ("lr=Infinity", "must be finite"),
        ("lr=true", "must be a number"),
        ("mean_return=1e999", "finite"),
        ("gamma=1.1", "must be <= 1"),
        ("beta=-0.1", "must be >= 0"),
        ("num_envs=0", "must be >= 1"),
        ("num_envs=1.5", "must be a whole number"),
        ("num_envs=2,3", "must be a whole number"),
        ("env_steps=null", "must be a whole number"),
        ("first_seed=-1", "must be >= 0"),
        ("lr_decay=maybe", "must be true or false"),
        ("reset=maybe", "must be 'subtract', 'zero' or 'none'"),
        ("ann.hidden_sizes=", "must be a list"),
        ("ann.hidden_sizes=[]", "must be a list of at least 1 items"),
        ("ann.hidden_sizes=8,0", "[1] must be >= 1"),
        ("ann.hidden_sizes=8,x", "[1] must be a whole number"),
        ("environment.kwargs=3", "must be a dictionary"),
        ('environment.kwargs={"size": NaN}', "holds what no file of settings can"),
        ('environment.kwargs={"size": 1e999}', "holds what no file of settings can"),
    ],
)
def test_value_of_a_wrong_type_or_range_is_refused_with_the_reason(assignment, reason):
    key, _, text = assignment.partition("=")
    error = error_of(assignment)
    assert error.message == f"setting {key!r} cannot be {text!r}"
    assert reason in error.remedy


def test_setting_paths_lead_to_values_and_leave_out_what_is_no_setting():
    paths = setting_paths(EXPERIMENT)
    assert len(paths) == len(set(paths))
    assert {"environment.id", "environment.kwargs", "spiking.hidden_sizes", "stopping.mean_return"} <= set(paths)
    assert not {"id", "summary", "task", "target", "algorithm.name", "spiking.kind", "ann.kind"} & set(paths)
    for path in paths:
        value_at(EXPERIMENT, path)


def refuse_constant(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_experiment_survives_strict_json():
    text = json.dumps(experiment_to_json(EXPERIMENT))
    assert experiment_from_json(json.loads(text, parse_constant=refuse_constant)) == EXPERIMENT


def test_search_space_keeps_its_kinds_and_choices_of_tuples():
    space = {"spiking.hidden_sizes": Choice(((64, 64), (128,))), "algorithm.lr": Uniform(0.1, 0.2)}
    experiment = replace(EXPERIMENT, search_space=space)
    assert experiment_from_json(experiment_to_json(experiment)).search_space == space


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"algorithm": {"name": "ppo", "lr": -1}}, "algorithm.lr must be > 0, got -1$"),
        (
            {"algorithm": {"name": "sarsa"}},
            "algorithm.name must be 'ppo', 'a2c', 'reinforce', 'impala', 'pqn', 'dqn' or 'sac', got 'sarsa'$",
        ),
        ({"stopping": {}}, "stopping.env_steps is missing$"),
        ({"spiking": {"hidden_sizes": []}}, r"spiking.hidden_sizes must be a list of at least 1 items, got \[\]$"),
        ({"id": 3}, "id must be text, got 3$"),
        ({"algorithm": {"name": "ppo", "gama": 0.9}}, r"algorithm.gama is no setting: did you mean gamma\?$"),
        (
            {"algorithm": {"lr": 0.1}},
            "algorithm.name is missing: choose 'ppo', 'a2c', 'reinforce', 'impala', 'pqn', 'dqn' or 'sac'$",
        ),
        ({"environment": {"id": "A-v0", "num_envs": True}}, "environment.num_envs must be a whole number, got True$"),
        ({"search_space": {"lr": {"kind": "uniform", "low": 0.1, "high": 0.2}}}, "search_space.lr is no setting: "),
        ({"kind": "swimming"}, "kind must be 'control', 'local', 'class.*', 'meta' or 'evolution', got 'swimming'$"),
    ],
)
def test_damaged_experiment_names_its_first_wrong_field(change, reason):
    with pytest.raises(ValueError, match=reason):
        experiment_from_json({**experiment_to_json(EXPERIMENT), **change})


@pytest.mark.parametrize("data", [[], None, 3])
def test_experiment_that_is_no_object_is_a_value_error(data):
    with pytest.raises(ValueError, match="must be a dictionary"):
        experiment_from_json(data)


def test_settings_that_must_fit_one_another_are_judged_together_in_any_order():
    experiment = get_experiment("taxi-stdp-q")
    assignments = ["steps_per_observation=2", "base_current=1.5"]  # one step cannot reach the threshold with 0.2
    for order in (assignments, assignments[::-1]):
        algorithm = apply_overrides(experiment, order).algorithm
        assert (algorithm.steps_per_observation, algorithm.base_current) == (2, 1.5)


def test_settings_that_do_not_fit_are_named_with_the_reason():
    with pytest.raises(UserError) as refusal:
        apply_overrides(get_experiment("taxi-stdp-q"), ["steps_per_observation=2", "base_current=0.5"])
    assert refusal.value.message == "steps_per_observation = 2 and base_current = 0.5 do not fit"
    assert "brings the membrane to 0.5 of the threshold" in str(refusal.value)


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["lr=0.0003"],
        ["env=Acrobot-v1", "mean_return=-100.0"],
        ["spiking.hidden_sizes=64,32", "lr=0.5"],
        ["spiking.hidden_sizes=[64]"],
        ['kwargs={"size": [1, 2]}'],
        ["reset=zero", "carry_state=true"],
    ],
)
def test_changed_settings_are_written_as_one_would_give_them(assignments):
    changed = apply_overrides(EXPERIMENT, assignments)
    assert sorted(changed_settings(changed, EXPERIMENT)) == sorted(assignments)


def test_settings_of_several_values_are_taken_away_by_null_and_put_back():
    plastic = get_experiment("changing-cues")
    for text in ("spiking.plastic=null", "plastic=null"):
        without = apply_overrides(plastic, [text])
        assert without.spiking.plastic is None
        assert changed_settings(without, plastic) == ["plastic=null"]
    (put_back,) = changed_settings(plastic, without)
    assert apply_overrides(without, [put_back]) == plastic
    assert changed_settings(apply_overrides(plastic, ["plastic.rule.lr=0.5"]), plastic) == [
        "spiking.plastic.rule.lr=0.5"
    ]
    raw = apply_overrides(get_experiment("breakout-ppo"), ["preprocessing=null"])
    assert raw.environment.preprocessing is None
    with pytest.raises(UserError, match="unknown setting 'spiking' — did you mean"):
        apply_overrides(plastic, ["spiking=null"])


@pytest.mark.parametrize(
    "settings", [{"num_envs": np.int64(4)}, {"lr": object()}, {"environment.kwargs": {"f": print}}]
)
def test_what_no_file_can_hold_is_one_line(settings):
    with pytest.raises(UserError, match=r"setting '.*' cannot be .*give numbers, texts, and lists"):
        apply_overrides(EXPERIMENT, (), settings)
    with pytest.raises(UserError, match="unknown setting '1'"):
        apply_overrides(EXPERIMENT, (), {1: 4})


def test_brackets_without_end_are_one_line():
    with pytest.raises(UserError, match="setting 'lr' cannot be"):
        apply_overrides(EXPERIMENT, ["lr=" + "[" * 100_000])


def test_keyword_arguments_are_what_a_file_gives_back():
    environment = Environment(id="Some-v0", kwargs={"size": (3, 4), "names": {"a": (1,)}})
    assert environment.kwargs == {"size": [3, 4], "names": {"a": [1]}}
    with pytest.raises(ValueError, match="its names are texts, and 1 is none"):
        Environment(id="Some-v0", kwargs={"sizes": [{1: "a"}]})
    with pytest.raises(ValueError, match="kwargs: holds what no file of settings can"):
        Environment(id="Some-v0", kwargs={"f": print})
