import os

import pytest

from synrl_ray import registry
from synrl_ray.errors import UserError

TEMPLATE = """
from dataclasses import replace
from synrl_ray.experiment import *
experiment = Experiment(
    id={id!r},
    summary={summary!r},
    environment=Environment(id="CartPole-v1"),
    spiking=SpikingPolicy(),
    ann=AnnPolicy(),
    algorithm=PPO(),
    stopping=Stopping(env_steps=100),
)
"""


@pytest.fixture(autouse=True)
def only_these_folders(tmp_path, monkeypatch):
    """An empty working directory; the package's own experiments are out of the way."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path / "elsewhere" / "synrl_ray")


def write(path, id, summary="", extra=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE.format(id=id, summary=summary) + extra)
    return path


def test_experiments_of_the_working_directory_are_found(tmp_path):
    write(tmp_path / "here/experiments/one.py", "one")
    assert list(registry.all_experiments()) == ["one"]


def test_experiments_beside_the_package_and_inside_it_are_found(tmp_path):
    write(tmp_path / "elsewhere/experiments/beside.py", "beside")
    write(tmp_path / "elsewhere/synrl_ray/_experiments/inside.py", "inside")
    assert list(registry.all_experiments()) == ["beside", "inside"]


def test_folders_in_the_environment_variable_are_found(tmp_path, monkeypatch):
    write(tmp_path / "a/one.py", "one")
    write(tmp_path / "b/two.py", "two")
    monkeypatch.setenv("SYNRL_EXPERIMENTS", f"{tmp_path / 'b'}{os.pathsep}{os.pathsep}{tmp_path / 'a'}")
    assert list(registry.all_experiments()) == ["one", "two"]  # sorted by id


def test_folder_that_does_not_exist_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNRL_EXPERIMENTS", str(tmp_path / "nowhere"))
    assert registry.experiment_folders() == []
    assert registry.all_experiments() == {}


def test_folder_named_twice_is_searched_once(tmp_path, monkeypatch):
    folder = write(tmp_path / "here/experiments/one.py", "one").parent
    monkeypatch.setenv("SYNRL_EXPERIMENTS", os.pathsep.join([str(folder), "experiments"]))
    assert registry.experiment_folders() == [folder]


def test_first_match_of_an_id_wins(tmp_path, monkeypatch):
    write(tmp_path / "named/x.py", "same", "named")
    write(tmp_path / "here/experiments/x.py", "same", "here")
    write(tmp_path / "elsewhere/experiments/x.py", "same", "package")
    assert registry.get_experiment("same").summary == "here"
    monkeypatch.setenv("SYNRL_EXPERIMENTS", str(tmp_path / "named"))
    assert registry.get_experiment("same").summary == "named"


def test_file_that_does_not_name_the_package_is_not_run(tmp_path):
    trap = tmp_path / "here/experiments/trap.py"
    trap.parent.mkdir()
    trap.write_text("open('was_run', 'w').close()\nraise ValueError")
    assert registry.all_experiments() == {}
    assert not (tmp_path / "here/was_run").exists()


@pytest.mark.parametrize("content", ["import synrl_ray", "import synrl_ray\nexperiment = 3", b"\xff\xfe not text"])
def test_file_without_an_experiment_is_passed_over(tmp_path, content):
    path = tmp_path / "here/experiments/other.py"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert registry.all_experiments() == {}


def test_files_in_subfolders_and_of_other_kinds_are_passed_over(tmp_path):
    write(tmp_path / "here/experiments/results/deep.py", "deep")
    write(tmp_path / "here/experiments/notes.txt", "notes")
    assert registry.all_experiments() == {}


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_file_that_fails_to_load_is_reported_in_one_line(tmp_path, extra, reason):
    path = write(tmp_path / "here/experiments/bad.py", "bad", extra=extra)
    with pytest.raises(UserError) as caught:
        registry.get_experiment("bad")
    line = str(caught.value)
    assert line.startswith(f"{path} does not load ({reason}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("PPO()", "PPO(lr=-1)", "PPO.lr must be > 0, got -1"),
        ("PPO()", "PPO(lr='0.1')", "PPO.lr must be a number, got '0.1'"),
        ("PPO()", "PPO(lr_decay=1)", "PPO.lr_decay must be true or false, got 1"),
        ("PPO()", "PPO(gama=0.9)", "PPO.gama is no setting: did you mean gamma?"),
        (
            "PPO()",
            "Stopping(env_steps=3)",
            "Experiment.algorithm must be PPO, A2C, Reinforce, IMPALA, PQN, DQN or SAC, got Stopping",
        ),
        ("PPO()", "'ppo'", "Experiment.algorithm must be PPO, A2C, Reinforce, IMPALA, PQN, DQN or SAC, got 'ppo'"),
        ("SpikingPolicy()", "SpikingPolicy(beta=7)", "SpikingPolicy.beta must be <= 1, got 7"),
        ("SpikingPolicy()", "SpikingPolicy(hidden_sizes=(64, 0))", "SpikingPolicy.hidden_sizes[1] must be >= 1, got 0"),
        ("SpikingPolicy()", "SpikingPolicy(hidden_sizes=64)", "SpikingPolicy.hidden_sizes must be a list, got 64"),
        (
            "SpikingPolicy()",
            "SpikingPolicy(reset='never')",
            "SpikingPolicy.reset must be 'subtract', 'zero' or 'none', got 'never'",
        ),
        ("env_steps=100", "", "Stopping.env_steps is missing"),
        ("env_steps=100", "env_steps=float('inf')", "Stopping.env_steps must be a whole number, got inf"),
        ("env_steps=100", "env_steps=True", "Stopping.env_steps must be a whole number, got True"),
        ("ann=AnnPolicy(),", "", "Experiment.ann is missing"),
        ("ann=AnnPolicy()", "ann=SpikingPolicy()", "Experiment.ann must be AnnPolicy, got SpikingPolicy"),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), target=3.5",
            "Experiment.target must be Target, got 3.5",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), target=RegretTarget(regret=0, source='x')",
            "Experiment.target must be Target, got RegretTarget",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'algorithm.lr': Uniform(0.2, 0.1)}",
            "Uniform is empty: 0.2..0.1",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'algorithm.lr': LogUniform(0.0, 0.1)}",
            "LogUniform.low must be > 0, got 0.0",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'algorithm.rl': Uniform(0.1, 0.2)}",
            "Experiment.search_space['algorithm.rl'] is no setting: choose from algorithm.lr",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'spiking.beta': Uniform(0.5, 1.5)}",
            "Experiment.search_space['spiking.beta'] must be <= 1, got 1.5",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'algorithm.num_epochs': Uniform(2.2, 2.8)}",
            "Experiment.search_space['algorithm.num_epochs'] holds no whole number: 2.2..2.8",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'spiking.hidden_sizes': Choice(((64,), (0,)))}",
            "Experiment.search_space['spiking.hidden_sizes'][0] must be >= 1, got 0",
        ),
        (
            "ann=AnnPolicy()",
            "ann=AnnPolicy(), search_space={'algorithm.lr': Choice(())}",
            "Choice.options must be a list",
        ),
        ("'CartPole-v1'", "3", "Environment.id must be text, got 3"),
    ],
)
def test_wrong_setting_of_a_file_is_one_line_with_file_field_value_and_what_is_allowed(tmp_path, right, wrong, problem):
    path = write(tmp_path / "here/experiments/bad.py", "bad")
    text = path.read_text().replace('"CartPole-v1"', "'CartPole-v1'")
    assert right in text
    path.write_text(text.replace(right, wrong, 1))
    with pytest.raises(UserError) as caught:
        registry.get_experiment("bad")
    line = str(caught.value)
    assert line.startswith(f"{path}: {problem}"), line
    assert len(line.splitlines()) == 1
    assert caught.value.exit_code == 2


def test_broken_file_hides_no_other_experiment(tmp_path):
    write(tmp_path / "here/experiments/good.py", "good")
    write(tmp_path / "here/experiments/bad.py", "bad", extra="1 / 0")
    found, broken = registry.found_experiments()
    assert list(found) == list(registry.all_experiments()) == ["good"]
    assert [str(error).split(" ")[0] for error in broken] == [str(tmp_path / "here/experiments/bad.py")]
    assert registry.get_experiment("good").id == "good"


@pytest.mark.parametrize("name", ["other-name", "my-id"])
def test_broken_file_is_what_is_asked_for_by_its_name_or_the_id_that_it_writes(tmp_path, name):
    write(tmp_path / "here/experiments/other_name.py", "my-id", extra="1 / 0")
    write(tmp_path / "elsewhere/experiments/my_id.py", name)  # of the package: not what the user is looking at
    with pytest.raises(UserError, match=r"other_name\.py does not load"):
        registry.get_experiment(name)


def test_experiment_file_may_define_dataclasses(tmp_path):
    path = write(tmp_path / "here/experiments/one.py", "one", extra="\nfrom dataclasses import dataclass\n")
    path.write_text(
        "from __future__ import annotations\n" + path.read_text() + "@dataclass\nclass Size:\n    width: int\n"
    )
    assert list(registry.all_experiments()) == ["one"]


def test_entries_that_are_no_files_are_passed_over(tmp_path):
    (tmp_path / "here/experiments/folder.py").mkdir(parents=True)
    (tmp_path / "here/experiments/dangling.py").symlink_to("nowhere")
    assert registry.all_experiments() == {}


def test_unknown_experiment_comes_with_the_nearest(tmp_path):
    write(tmp_path / "here/experiments/a.py", "cartpole-ppo")
    write(tmp_path / "here/experiments/b.py", "zzz")
    with pytest.raises(UserError) as caught:
        registry.get_experiment("cartpole-pp")
    assert caught.value.message == "unknown experiment 'cartpole-pp'"
    assert caught.value.remedy == "did you mean cartpole-ppo? `synrl list` shows all"


def test_unknown_experiment_without_a_near_one_names_all(tmp_path):
    write(tmp_path / "here/experiments/a.py", "cartpole-ppo")
    write(tmp_path / "here/experiments/b.py", "maze-stdp")
    with pytest.raises(UserError, match="did you mean cartpole-ppo, maze-stdp"):
        registry.get_experiment("zzzz")


@pytest.mark.parametrize("name", ["CartPole-v1", "my_package.envs:MyEnv-v0"])
def test_an_environment_in_place_of_an_experiment_is_told(name):
    with pytest.raises(UserError, match=f"unknown experiment '{name}' — an environment is named by --env {name}"):
        registry.get_experiment(name)
