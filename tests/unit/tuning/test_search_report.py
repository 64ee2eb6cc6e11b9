import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from studies import make_study, make_trial

from synrl_ray.tuning import report
from synrl_ray.tuning.session import SearchOutcome


@pytest.fixture(autouse=True)
def found_by_name(monkeypatch):
    monkeypatch.setattr("synrl_ray.commands.shutil.which", lambda name: f"/bin/{name}")


def outcome(folder, **run):
    study = make_study("spiking.beta=0.5..0.99", "gamma=0.9..0.999")
    study = replace(study, run=replace(study.run, **run))
    settings = dict.fromkeys(study.space, 0.123456)
    trials = [make_trial(i, 10.0 + i, **settings) for i in range(3)]
    return SearchOutcome(study=study, trials=trials, best=trials[2], settings=settings, folder=Path(folder))


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_no_part_of_the_table_is_left_out(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    report.print_search(outcome("runs/x"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["trial", "greedy"]
    assert "spiking.beta" in lines[1].split()
    for line, index in zip(lines[2:5], (2, 1, 0), strict=True):
        assert line.split()[:2] == [str(index), str(10 + index)]
        assert line.split().count("0.1235") == len(outcome("x").study.space)


def test_the_command_that_trains_the_best_can_be_pasted(capsys):
    report.print_search(outcome("my runs/it's", policy="ann", num_workers=2))
    line = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(line)[2:] == [
        *("synrl", "train", "cartpole-ppo", "--policy", "ann", "--num-workers", "2"),
        *("--config", "my runs/it's/best.json", "--seeds", "5", "--run-dir", "my runs/it's-best"),
    ]
