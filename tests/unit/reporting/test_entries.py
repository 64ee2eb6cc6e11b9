"""Which runs are found below a folder, and which of them stand together."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from synrl_ray.errors import UserError
from synrl_ray.registry import get_experiment
from synrl_ray.reporting.comparable import judged_by
from synrl_ray.reporting.entries import found_entries
from synrl_ray.reporting.tables import settings_of
from synrl_ray.running.metrics_table import as_csv

RESULTS = Path(__file__).parents[3] / "experiments" / "results"


def seeds_of(entries):
    return [(entry.label, [run.spec.seed for run in entry.runs]) for entry in entries]


@pytest.mark.parametrize("names", [[""], ["x-seed0", "x-seed1", "twin-seed0"], ["", "x-seed1"]])
def test_seeds_of_a_folder_are_put_together_and_its_policies_are_not(make_run, tmp_path, names, monkeypatch):
    make_run("runs/x-seed0", seed=0)
    make_run("runs/x-seed1", seed=1)
    make_run("runs/twin-seed0", seed=0, policy="ann")
    found = dict(seeds_of(found_entries([tmp_path / "runs" / name for name in names])))
    assert found == {"cartpole-ppo spiking": [0, 1], "cartpole-ppo ann": [0]}


def test_the_seeds_of_a_committed_result_are_in_its_folder_with_tables_of_metrics(make_run, tmp_path):
    for seed in (10, 2):
        folder = make_run(f"spiking/seed{seed}", seed=seed, rows=0)
        (folder / "metrics.csv").write_text(as_csv([{"iteration": 1, "env_steps": 50, "return_mean": 3.5}]))
    for place in (tmp_path, tmp_path / "spiking"):
        (entry,) = found_entries([place])
        assert [run.spec.seed for run in entry.runs] == [2, 10]
        assert entry.runs[0].rows == [{"iteration": 1, "env_steps": 50, "return_mean": 3.5}]


def test_the_same_seed_of_two_folders_is_two_entries_named_after_them(make_run, tmp_path):
    make_run("old/seed0")
    make_run("new/seed0")
    assert seeds_of(found_entries([tmp_path / "old", tmp_path / "new"])) == [
        ("cartpole-ppo spiking (old)", [0]),
        ("cartpole-ppo spiking (new)", [0]),
    ]


def test_other_settings_in_the_same_folder_are_another_entry(make_run, tmp_path):
    experiment = get_experiment("cartpole-ppo")
    make_run("a-seed0")
    make_run("b-seed1", seed=1, experiment=replace(experiment, spiking=replace(experiment.spiking, beta=0.5)))
    assert [seeds for _, seeds in seeds_of(found_entries([tmp_path]))] == [[0], [1]]


def test_scores_of_seeds_are_known_when_all_have_ended(make_run, tmp_path):
    make_run("seed0", seed=0, score=1.0)
    make_run("seed1", seed=1, score=3.0)
    (entry,) = found_entries([tmp_path])
    assert entry.scores() == (1.0, 3.0)
    make_run("seed2", seed=2, score=None)
    (entry,) = found_entries([tmp_path])
    assert entry.scores() == ()
    assert [run.spec.seed for run in entry.unended] == [2]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("config.json", "{", "config.json is damaged"),
        ("result.json", "{", "result.json is damaged"),
        ("result.json", None, "result.json is damaged"),
        ("metrics.csv", b"\xff\xfe", "metrics.csv is damaged"),
    ],
)
def test_damage_is_one_line(make_run, name, content, problem):
    folder = make_run("x", rows=0)
    if content is None:  # JSON has whole numbers that no float holds
        data = json.loads((folder / name).read_text())
        data["figures"]["return_iqm"] = 10**400
        content = json.dumps(data)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=problem) as error:
        found_entries([folder])
    assert "\n" not in str(error.value)


def test_old_results_beside_which_no_settings_lie_are_an_entry(tmp_path):
    entries = found_entries([RESULTS / "breakout-a2c", RESULTS / "omniglot-maml/ann"])
    assert [(entry.label, entry.kind.name, entry.seeds) for entry in entries] == [
        ("breakout-a2c ann", "control", (0,)),
        ("breakout-a2c spiking", "control", (0,)),
        ("omniglot-maml ann", "meta", (0, 1, 2)),
    ]
    assert judged_by(entries[0])["environment"] == "ale_py:ALE/Breakout-v5"
    assert settings_of(entries[0]) == {}
    copy = tmp_path / "x"
    copytree(RESULTS / "breakout-a2c/ann", copy)
    (copy / "policy.json").write_text("{}")
    with pytest.raises(UserError, match=r"policy\.json is damaged"):
        found_entries([copy])


def test_a_folder_without_runs_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="holds no run"):
            found_entries([place])


def test_runs_are_found_three_folders_down_and_no_deeper(tmp_path):
    deep = tmp_path / "of" / "this" / "week" / "cartpole"
    deep.parent.mkdir(parents=True)
    copytree(RESULTS / "cartpole-ppo/spiking", deep)
    assert [entry.label for entry in found_entries([tmp_path / "of"])] == ["cartpole-ppo spiking"]
    with pytest.raises(UserError, match="holds no run"):
        found_entries([tmp_path.parent / tmp_path.name])
