import json
import subprocess
import sys

import pytest

import synrl_ray
from synrl_ray import registry
from synrl_ray.cli import main


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)


def output_of(capsys, *argv):
    """Standard output of a command that succeeds."""
    code = 0
    try:
        main(argv)
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def test_list_shows_one_line_for_each_experiment(capsys):
    lines = output_of(capsys, "list").splitlines()
    experiments = registry.all_experiments()
    assert [line.split()[0] for line in lines] == list(experiments)
    first = next(iter(experiments.values()))
    assert f"{first.summary} ({first.stopping.env_steps:,} environment steps)" in lines[0]


def test_list_as_json_has_the_same_experiments(capsys):
    rows = json.loads(output_of(capsys, "list", "--json"))
    assert [row["id"] for row in rows] == list(registry.all_experiments())
    for row in rows:
        experiment = registry.get_experiment(row["id"])
        assert row == {
            "id": experiment.id,
            "summary": experiment.summary,
            "kind": experiment.kind,
            **vars(experiment.stopping),
        }


def test_list_of_nothing_is_empty(capsys, monkeypatch):
    monkeypatch.setattr(registry, "found_experiments", lambda: ({}, []))
    assert output_of(capsys, "list") == ""
    assert json.loads(output_of(capsys, "list", "--json")) == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", "list train evaluate submit head --help --version"),
        ("list", "--json"),
        (
            "train",
            "EXPERIMENT --policy --seed --seeds --num-workers --num-learners --stop-steps --set --run-dir --storage "
            "--address --resume --json",
        ),
        ("evaluate", "RUN_DIR --episodes --seed --video --json"),
        ("submit", "--address --env --detach"),
        ("head", "start stop env"),
        ("head start", "--port --num-cpus"),
    ],
)
def test_help_mentions_every_option(capsys, command, expected):
    words = output_of(capsys, *command.split(), "--help").split()
    assert set(expected.split()) <= set(words)
    assert not any(word.startswith("--no-") for word in words)


def test_version_is_that_of_the_package(capsys):
    assert output_of(capsys, "--version").strip() == synrl_ray.__version__


def test_interrupt_exits_with_130_and_says_how_to_go_on(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt("continue with `synrl train --resume x`")

    monkeypatch.setattr(registry, "found_experiments", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["list"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "synrl: stopped: continue with `synrl train --resume x`\n"


def test_error_of_the_program_is_not_hidden(monkeypatch):
    def fail():
        raise RuntimeError("a bug")

    monkeypatch.setattr(registry, "found_experiments", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["list"])


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True)


def imported_by(done):
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}


def test_listing_imports_neither_torch_nor_ray(tmp_path):
    done = run("-X", "importtime", "-m", "synrl_ray", "list")
    assert done.returncode == 0
    assert done.stdout.split()[0] in registry.all_experiments()
    assert "synrl_ray" in imported_by(done)
    assert imported_by(done) & {"torch", "ray", "gymnasium", "matplotlib"} == set()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_is_told_of_before_torch_and_ray_are_imported():
    done = run("-X", "importtime", "-m", "synrl_ray", "train", "no-such")
    assert done.returncode == 2
    assert "unknown experiment 'no-such'" in done.stderr
    assert imported_by(done) & {"torch", "ray", "matplotlib"} == set()


def test_module_runs_help_and_reports_errors_like_the_command():
    done = run("-m", "synrl_ray", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")
    done = run("-m", "synrl_ray", "train", "no-such-experiment")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("synrl: unknown experiment 'no-such-experiment' — ")


def test_package_gives_its_names_without_importing_torch_or_ray():
    code = (
        "import sys, synrl_ray\n"
        "assert synrl_ray.Experiment.__name__ == 'Experiment'\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    assert run("-c", code).stdout.strip() == "[]"


def test_package_refuses_names_it_does_not_have():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = synrl_ray.nonsense
    assert synrl_ray.load_policy.__module__ == "synrl_ray.policies.loading"
