"""What the tables of a comparison say, and what is not compared."""

import json
import re
from dataclasses import replace

import pytest

import synrl_ray
from synrl_ray import UserError
from synrl_ray.registry import get_experiment
from synrl_ray.results import Provenance


def cells(comparison, title="Summary"):
    (table,) = (table for table in comparison.tables if table.title == title)
    return {name: list(row) for name, *row in table.rows}


def test_the_summary_has_score_time_and_energy_beside_the_twins(make_run):
    found = cells(synrl_ray.compare(make_run("a"), make_run("b", policy="ann", score=250.0)))
    assert found == {
        "": ["cartpole-ppo spiking", "cartpole-ppo ann"],
        "seeds": ["1 (0)", "1 (0)"],
        "score": ["greedy return, IQM: 100 (90 to 110)", "greedy return, IQM: 250 (240 to 260)"],
        "its interval": ["95% over episodes, bootstrap"] * 2,
        "environment steps a seed": ["2,000"] * 2,
        "time a seed": ["10.0 s"] * 2,
        "steps a second": ["200"] * 2,
        "parameters": ["10"] * 2,
        "energy a decision": ["2 nJ (twin 8 nJ, ratio 0.25)"] * 2,
    }


def test_settings_that_differ_are_named_and_no_others(make_run):
    experiment = get_experiment("cartpole-ppo")
    other = replace(experiment, spiking=replace(experiment.spiking, beta=0.5))
    found = synrl_ray.compare(make_run("a"), make_run("b", experiment=other))
    assert cells(found, "Settings that differ") == {
        "": ["cartpole-ppo spiking (a)", "cartpole-ppo spiking (b)"],
        "spiking.beta": ["0.9", "0.5"],
    }


def test_versions_are_told(make_run):
    provenance = Provenance(versions={"ray": "4", "torch": "2"})
    found = cells(synrl_ray.compare(make_run("a"), make_run("b", policy="ann", provenance=provenance)), "Versions")
    assert (found["ray"], found["torch"], found["commit"]) == (["1.2.3", "4"], ["–", "2"], ["abc", "–"])


def test_a_run_that_has_not_ended_is_marked_and_its_score_is_not_made_up(make_run):
    found = cells(synrl_ray.compare(make_run("a", score=None), make_run("b", policy="ann")))
    assert found["not ended"] == ["1 of 1, interrupted or still training, at 2,000 steps", "–"]
    assert found["score"][0] == "–"


def test_results_of_version_1_are_read(make_run):
    old = make_run("a")
    (old / "result.json").write_text(
        json.dumps(
            {
                "experiment": "cartpole-ppo",
                "policy": "spiking",
                "seed": 0,
                "return_iqm": 90.0,
                "return_mean": 91.0,
                "evaluation_episodes": 2,
                "env_steps": 100,
                "wall_seconds": 4.0,
                "protocol": {"environment": "CartPole-v1", "episodes": 100},
            }
        )
    )
    assert cells(synrl_ray.compare(old, make_run("b", policy="ann")))["score"][0].startswith("greedy return, IQM: 90")


def test_other_environments_and_protocols_are_refused_with_the_difference(make_run, other_environment):
    first = make_run("a")
    experiment = get_experiment("cartpole-ppo")
    longer = replace(experiment.environment, kwargs={"max_episode_steps": 9})
    protocol = {"environment": "CartPole-v1", "episodes": 3, "first_seed": 7}
    for other, difference in (
        (make_run("b", experiment=other_environment), 'environment is "Acrobot-v1", not "CartPole-v1"'),
        (make_run("c", experiment=other_environment, score=None), 'environment is "Acrobot-v1", not "CartPole-v1"'),
        (make_run("d", experiment=replace(experiment, environment=longer)), "max_episode_steps is 9, not null"),
        (make_run("e", protocol=protocol), "episodes is 3, not 100"),
        (make_run("f", experiment=get_experiment("mnist-binary")), 'kind is "classification", not "control"'),
    ):
        with pytest.raises(UserError, match=re.escape(difference)):
            synrl_ray.compare(first, other)


def test_markdown_is_tables_whose_cells_are_text(make_run):
    versions = {"a|b": "<img src=x>", "*c*": "`d`\ne"}
    text = synrl_ray.compare(make_run("a", provenance=Provenance(versions=versions))).markdown()
    assert "| a\\|b | &lt;img src=x&gt; |\n" in text
    assert "| \\*c\\* | \\`d\\` e |\n" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_a_notebook_shows_the_summary(make_run):
    found = synrl_ray.compare(make_run("a"))
    assert repr(found) == f"SideBySide({found.entries[0].label})"
    assert found._repr_markdown_() == found.markdown().partition("\n**Versions**")[0]


def test_the_command_prints_tables_markdown_or_json(make_run, printed, monkeypatch):
    run = str(make_run("a"))
    monkeypatch.setenv("COLUMNS", "100")
    assert "greedy return, IQM: 100 (90 to 110)" in printed("compare", run)
    assert printed("compare", run, "--markdown") == synrl_ray.compare(run).markdown()
    row, _ = json.loads(printed("compare", run, "--json"))
    assert row == {
        "entry": "cartpole-ppo spiking",
        "seeds": 1,
        "not_ended": 0,
        "figure": "return_iqm",
        "value": 100.0,
        "low": 90.0,
        "high": 110.0,
        "over": "episodes",
    }
