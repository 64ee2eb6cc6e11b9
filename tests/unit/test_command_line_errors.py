"""What a user gets wrong is answered in one line, with status 2, before anything is written or Ray is started."""

import errno
import json
import os

import pytest

from synrl_ray.api import places
from synrl_ray.cli import main
from synrl_ray.registry import get_experiment
from synrl_ray.running import seeds
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

ID = "cartpole-ppo"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """An empty working and home directory, and no Ray."""

    def refuse(*arguments, **options):
        raise AssertionError("this would have started Ray")

    monkeypatch.setattr(seeds, "ray_session", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.chdir(tmp_path)


def error_line(capsys, argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert err.startswith("synrl: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("synrl: ").rstrip("\n")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("nonsense", "Unknown command"),
        ("--nonsense", "--nonsense"),
        ("list extra", "extra"),
        ("list --nonsense", "--nonsense"),
        ("train", "no experiment is named"),
        ("train no-such", "unknown experiment 'no-such'"),
        (f"train {ID} extra", "extra"),
        (f"train {ID} --nonsense", "--nonsense"),
        (f"train {ID} --policy lstm", "--policy"),
        (f"train {ID} --seed abc", "--seed"),
        (f"train {ID} --seed", "--seed"),
        (f"train {ID} --seed -1", "--seed -1 is too small"),
        (f"train {ID} --seed 0.5", "--seed"),
        (f"train {ID} --seed 4294967296", "--seed 4294967296 is too large"),
        ("train sinusoid-maml --seed 3000000", "seed 3000000 is too large for meta-learning"),
        (f"train {ID} --seeds 0", "--seeds 0 is too small"),
        (f"train {ID} --seeds 1000000000", "--seeds 1,000,000,000 are too many — they are 10,000 at most"),
        (f"train {ID} --seed 1 --seeds 2", "--seed and --seeds exclude each other"),
        (f"train {ID} --num-workers -1", "--num-workers -1 is too small"),
        (f"train {ID} --gpus-per-learner 1.5", "--gpus-per-learner 1.5 is not between 0.01 and 1"),
        (f"train {ID} --gpus-per-learner x", "--gpus-per-learner"),
        (f"train {ID} --num-learners 2 --gpus-per-learner 0.5", "2 learners cannot share a GPU"),
        ("train taxi-q-learning --gpus-per-learner 1", "--gpus-per-learner means nothing for taxi-q-learning"),
        (f"train {ID} --num-learners -1", "--num-learners -1 is too small"),
        (f"train {ID} --num-learners 7", "steps cannot be shared by 7 learners"),
        ("train cartpole-dqn --num-learners 2", "--num-learners means nothing for cartpole-dqn"),
        ("train sinusoid-maml --num-learners 2", "--num-learners means nothing for sinusoid-maml"),
        (
            f"train {ID} --storage nonsense://bucket",
            "storage nonsense://bucket/cartpole-ppo/spiking-seed0 cannot be used",
        ),
        (f"train {ID} --storage /proc/nowhere", "storage /proc/nowhere/cartpole-ppo/spiking-seed0 cannot be written"),
        ("train --resume nonsense://a/b", "storage nonsense://a/b cannot be used"),
        ("evaluate nonsense://a/b", "storage nonsense://a/b cannot be used"),
        (f"train {ID} --stop-steps 0", "'stopping.env_steps' cannot be '0'"),
        (f"train {ID} --set lr", "--set 'lr' is not key=value"),
        (f"train {ID} --set", "--set"),
        (f"train {ID} --set lrr=1", "unknown setting 'lrr' — did you mean lr?"),
        (f"train {ID} --set hidden_sizes=8", "setting 'hidden_sizes' is ambiguous"),
        (f"train {ID} --set lr=-1", "setting 'lr' cannot be '-1'"),
        (f"train {ID} --set gamma=0.9 lr=-1", "setting 'lr' cannot be '-1'"),
        (f"train {ID} --set minibatch_size=4096", "minibatch_size"),
        (f"train {ID} --set env=CartPol-v1", "unknown environment 'CartPol-v1' — did you mean CartPole-v1"),
        (f"train {ID} --set env=nomodulehere:X-v0", "nomodulehere"),
        ("train cartpole-dqn --set env=Pendulum-v1", "Pendulum-v1 has the action space Box("),
        (f'train {ID} --set environment.kwargs={{"mars":1}}', "mars"),
        ("train --resume nowhere", "nowhere is no run folder (no config.json)"),
        ("train --resume", "--resume"),
        (f"train {ID} --resume nowhere", "--resume does not go with EXPERIMENT"),
        ("train --resume nowhere --set lr=1", "--resume does not go with --set"),
        ("train --resume nowhere --seed 0", "--resume does not go with --seed"),
        ("train --resume nowhere --seeds 2", "--resume does not go with --seeds"),
        ("train --resume nowhere --run-dir x", "--resume does not go with --run-dir"),
        ("train --resume nowhere --policy ann", "--resume does not go with --policy"),
        ("train --resume nowhere --num-workers 2", "--resume does not go with --num-workers"),
        ("train --resume nowhere --num-learners 2", "--resume does not go with --num-learners"),
        ("evaluate", "RUN_DIR"),
        ("evaluate nowhere", "nowhere holds no policy.json"),
        ("evaluate nowhere --episodes 0", "--episodes 0 is too small"),
        ("evaluate nowhere --episodes x", "--episodes"),
        ("evaluate nowhere --seed -1", "--seed -1 is too small"),
        ("submit", "nothing to submit"),
        ("submit --env NOT_SET_HERE -- list", "--env NOT_SET_HERE: no variable of that name is set here"),
        ("head nonsense", "Unknown command"),
        ("head start --port abc", "--port"),
        ("head start --port -5", "port"),
        ("head start --port 99999", "port"),
        ("head stop", "no Ray head was started"),
        ("head env", "no Ray head of yours runs"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(capsys, tmp_path, command, expected):
    assert expected in error_line(capsys, command.split(" "))
    assert list(tmp_path.rglob("*")) == []


def run_folder(path):
    return RunFolder.create(path, RunSpec(experiment=get_experiment(ID), policy="ann", seed=0, num_workers=0))


def test_taken_run_folder_says_how_to_go_on(capsys, tmp_path):
    run_folder(tmp_path / "taken")
    line = error_line(capsys, ["train", ID, "--run-dir", "taken"])
    assert line.startswith("run folder taken exists — continue it with `synrl train --resume taken`")


def test_one_taken_folder_of_several_seeds_stops_before_any_is_made(capsys, tmp_path):
    run_folder(tmp_path / "runs" / ID / "ann-seed1")
    line = error_line(capsys, ["train", ID, "--policy", "ann", "--seeds", "3"])
    assert line.startswith(f"run folder runs/{ID}/ann-seed1 exists")
    assert [path.name for path in (tmp_path / "runs" / ID).iterdir()] == ["ann-seed1"]


def test_folder_of_something_else_is_left_alone(capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    line = error_line(capsys, ["train", ID, "--run-dir", "photos"])
    assert line.startswith("photos exists and is no run folder")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null", '{"format": 9}'])
def test_damaged_run_folder_is_named(capsys, tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert error_line(capsys, ["train", "--resume", "."]).startswith("config.json is damaged (")


def test_broken_experiment_file_is_named(capsys, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text("import synrl_ray\nexperiment = 1 / 0\n")
    problem = f"{tmp_path / 'experiments' / 'mine.py'} does not load (ZeroDivisionError: division by zero)"
    for words in ("train mine", "tune mine"):
        assert error_line(capsys, words.split()).startswith(problem)


def test_list_names_a_broken_experiment_file_and_shows_the_others(capsys, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text("import synrl_ray\nexperiment = 1 / 0\n")
    with pytest.raises(SystemExit, match="0"):
        main(["list"])
    out, err = capsys.readouterr()
    assert ID in out
    assert err.startswith(f"synrl: {tmp_path / 'experiments' / 'mine.py'} does not load (ZeroDivisionError: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["evaluate", "train --resume", f"train {ID} --run-dir", "tune --resume"])
def test_a_name_that_is_too_long_is_one_line(capsys, command):
    name = "a" * 300
    line = error_line(capsys, [*command.split(), name])
    assert line.startswith(name)
    assert line.endswith("cannot be used (File name too long) — mend that, or name another place")


@pytest.mark.parametrize("code", [errno.EACCES, errno.ELOOP, errno.ESTALE, errno.EIO])
def test_a_path_that_the_system_refuses_is_one_line(capsys, monkeypatch, code):
    def refuse(*given, **options):
        raise OSError(code, os.strerror(code), "somewhere")

    monkeypatch.setattr(places, "located", refuse)
    line = error_line(capsys, ["evaluate", "run"])
    assert line == f"somewhere cannot be used ({os.strerror(code)}) — mend that, or name another place"


def test_other_errors_of_the_system_are_bugs(monkeypatch):
    def fail(*given, **options):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(places, "located", fail)
    with pytest.raises(OSError, match="Invalid argument"):
        main(["evaluate", "run"])


def test_run_folder_without_a_policy_yet_is_named(capsys, tmp_path):
    run_folder(tmp_path / "new")
    assert error_line(capsys, ["evaluate", "new"]).startswith("new holds no policy.json")


@pytest.mark.parametrize("environment", [{}, {"environment": None}, {"environment": {"id": 3}}])
def test_policy_without_its_environment_is_named(capsys, tmp_path, environment):
    from gymnasium import spaces

    from synrl_ray.policies.actor_critic import ActorCritic
    from synrl_ray.policies.policy import Policy
    from synrl_ray.settings.policies import AnnPolicy

    observation_space, action_space = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
    network = ActorCritic(observation_space, action_space, AnnPolicy(hidden_sizes=(2,)))
    Policy(network, observation_space, action_space).save(tmp_path, **environment)
    assert error_line(capsys, ["evaluate", "."]).startswith("policy.json names no environment")
    assert json.loads((tmp_path / "policy.json").read_text())["format"] == 1
