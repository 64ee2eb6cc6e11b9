import json
import subprocess
import sys
from pathlib import Path

import pytest

import synrl_ray
from synrl_ray import registry
from synrl_ray.cli import main
from synrl_ray.setting_docs import setting_docs
from synrl_ray.settings.paths import setting_paths


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


def test_list_shows_each_experiment_in_its_group_with_its_committed_scores(capsys):
    lines = output_of(capsys, "list").splitlines()
    experiments = registry.all_experiments()
    assert {line for line in lines if not line.startswith(" ")} == {e.group for e in experiments.values()}
    assert {line.split()[0] for line in lines} >= set(experiments)
    of_taxi = next(i for i, line in enumerate(lines) if line.startswith("  taxi-q-learning "))
    assert "tabular Q-learning (1,000,000 environment steps)" in lines[of_taxi]
    assert lines[of_taxi + 1].split() == ["tabular", "regret_iqm", "0"]


def test_a_damaged_result_is_left_out_of_the_list(tmp_path, monkeypatch):
    experiment = registry.get_experiment("cartpole-ppo")
    for policy, text in (("spiking", "{"), ("ann", None)):
        folder = tmp_path / "results" / "cartpole-ppo" / policy
        folder.mkdir(parents=True)
        committed = Path(registry.__file__).parents[1] / "experiments" / "results" / "cartpole-ppo" / policy
        (folder / "result.json").write_text(text or (committed / "result.json").read_text())
    (tmp_path / "cartpole_ppo.py").write_text('experiment = Experiment(id="cartpole-ppo")')
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setattr(registry, "experiment_folders", lambda: [mine, tmp_path])
    assert registry.committed_scores(experiment) == {"ann": ("return_iqm", 500.0)}
    (mine / "other.py").write_text(
        "experiment = Experiment(id='cartpole-ppo')"
    )  # another of that name, without results
    assert registry.committed_scores(experiment) == {}


def test_info_shows_what_can_be_set_and_what_it_is_for(capsys):
    text = output_of(capsys, "info", "cartpole-ppo", "--set", "lr=0.5")
    lines = text.splitlines()
    assert lines[0] == "cartpole-ppo: CartPole-v1 with PPO (100,000 environment steps)"
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == ["lr=0.5"])
    assert (lines[at].split(None, 1)[1], lines[at + 1].strip()) == (
        "number, > 0",
        "Learning rate of Adam at the start.",
    )
    assert "algorithm (PPO)" in lines
    assert "algorithm (A2C)" in output_of(capsys, "info", "--env", "CartPole-v1", "--set", "algorithm=a2c")
    rows = json.loads(output_of(capsys, "info", "cartpole-ppo", "--json"))
    assert [row["path"] for row in rows] == setting_paths(registry.get_experiment("cartpole-ppo"))


def test_every_setting_of_every_experiment_says_what_it_is_for_and_what_it_may_be():
    docs = [each for experiment in registry.all_experiments().values() for each in setting_docs(experiment)]
    assert {f"{each.part}.{each.path.rpartition('.')[2]}" for each in docs if not each.doc} == set()
    assert {each.path for each in docs if "anything" in each.allowed or ":`" in each.doc} == set()


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
        ("", "list info train evaluate export pack submit head --help --version --install-completion"),
        ("info", "EXPERIMENT --env --set --json"),
        ("list", "--json"),
        (
            "train",
            "EXPERIMENT --policy --seed --seeds --num-workers --num-learners --stop-steps --set --run-dir --storage "
            "--address --resume --json",
        ),
        ("evaluate", "RUN_DIR --episodes --seed --video --json"),
        ("pack", "RUN_DIR --out --licence"),
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
    assert set(done.stdout.split()) >= set(registry.all_experiments())
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
