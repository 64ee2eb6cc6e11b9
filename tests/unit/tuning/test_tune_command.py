"""What a user gets wrong with `synrl tune` is one line, with status 2, before anything is written or Ray is started."""

import importlib.util
import json

import pytest
from studies import drawn, make_study, make_trial

from synrl_ray.cli import main
from synrl_ray.running import seeds
from synrl_ray.tuning import session
from synrl_ray.tuning.study_folder import StudyFolder

ID = "cartpole-ppo"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """An empty working and home directory, no Ray and no Optuna."""

    def refuse(*arguments, **options):
        raise AssertionError("this would have started Ray")

    def find_nothing(name, *arguments):
        return None if name == "optuna" else importlib.util.find_spec(name, *arguments)

    monkeypatch.setattr(session, "ray_session", refuse)
    monkeypatch.setattr(seeds, "ray_session", refuse)
    monkeypatch.setattr("synrl_ray.tuning.study.find_spec", find_nothing)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.chdir(tmp_path)


def error_line(capsys, argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    return err.removeprefix("synrl: ").rstrip("\n")


def succeed(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("tune", "no experiment is named"),
        ("tune no-such", "unknown experiment 'no-such'"),
        (f"tune {ID} --samples 0", "--samples 0 is too small"),
        (f"tune {ID} --max-concurrent 0", "--max-concurrent 0 is too small"),
        (f"tune {ID} --scheduler best", "--scheduler"),
        (f"tune {ID} --search luck", "--search"),
        (f"tune {ID} --search optuna", "needs the package optuna — pip install 'synrl-ray[tune]'"),
        (f"tune {ID} --scheduler pbt --samples 1", "a population has more than one trial"),
        (f"tune {ID} --scheduler pbt --set lr=1e-3 entropy_coeff=0", "changes settings of the algorithm only"),
        (f"tune {ID} --set lr=1e-3 entropy_coeff=0 spiking.beta=0.9", f"{ID} has nothing to search"),
        (f"tune {ID} --space", "--space"),
        (f"tune {ID} --space lr=1..0", "is empty: 1..0"),
        (f"tune {ID} --set minibatch_size=4096", "minibatch_size"),
        (f"tune {ID} --policy tabular", "has no tabular policy"),
        (f"tune {ID} --stop-steps 0", "'stopping.env_steps' cannot be '0'"),
        ("tune --resume nowhere", "nowhere is no study folder (no study.json)"),
        (f"tune {ID} --resume nowhere", "--resume does not go with EXPERIMENT"),
        ("tune --resume nowhere --samples 3", "--resume does not go with --samples"),
        (f"train {ID} --config nowhere.json", "nowhere.json cannot be read (No such file or directory)"),
        (f"train {ID} --config .", "cannot be read (it is no regular file)"),
        ("train --resume nowhere --config x.json", "--resume does not go with --config"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(capsys, tmp_path, command, expected):
    assert expected in error_line(capsys, command.split(" "))
    assert list(tmp_path.rglob("*")) == []


def test_a_damaged_or_taken_study_is_one_line(capsys, tmp_path):
    folder = StudyFolder.create(tmp_path / "study", make_study())
    assert "study exists — continue it with" in error_line(capsys, ["tune", ID, "--run-dir", "study"])
    (folder.path / "study.json").write_text("{")
    assert "study.json is damaged" in error_line(capsys, ["tune", "--resume", "study"])


def test_an_ended_study_is_summarised_again_without_ray(capsys, tmp_path):
    folder = StudyFolder.create(tmp_path / "study", make_study(samples=2, settings={"algorithm.gamma": 0.9}))
    settings = {"algorithm.lr": 1e-3, "algorithm.entropy_coeff": 0.01}
    folder.write_trials(
        [
            make_trial(0, 1.0, 7.0, **settings, **{"spiking.beta": 0.9}),
            make_trial(1, 2.0, state="stopped", **settings, **{"spiking.beta": 0.8}),
        ]
    )
    succeed(["tune", "--resume", "study"])
    out = capsys.readouterr().out
    assert "Best          trial 0: algorithm.lr=0.001" in out
    assert "synrl train cartpole-ppo --config study/best.json" in out
    wanted = {"algorithm.gamma": 0.9, **settings, "spiking.beta": 0.9}
    assert json.loads((folder.path / "best.json").read_text()) == wanted
    assert (folder.path / "tuning.png").stat().st_size > 10_000
    succeed(["tune", "--resume", "study", "--json"])
    assert json.loads(capsys.readouterr().out)["best"]["trial"] == 0


def test_a_study_whose_trials_all_failed_says_why(capsys, tmp_path):
    folder = StudyFolder.create(tmp_path / "study", make_study(samples=1))
    trial = make_trial(0, state="failed", **drawn(folder.study()))
    trial.error = "the loss is not finite"
    folder.write_trials([trial])
    line = error_line(capsys, ["tune", "--resume", "study"])
    assert "all 1 trials failed, the first with: the loss is not finite" in line
