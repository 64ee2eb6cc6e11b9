"""What a user gets wrong about local learning is one line, before anything is written or Ray is started."""

import contextlib
import json

import pytest

from synrl_ray.cli import main
from synrl_ray.running import seeds

ID = "taxi-q-learning"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("this would have started Ray")

    monkeypatch.setattr(seeds, "ray_session", refuse)
    monkeypatch.delenv("SYNRL_EXPERIMENTS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"train {ID} --policy spiking", "taxi-q-learning has no spiking policy — it has tabular"),
        ("train cartpole-ppo --policy tabular", "cartpole-ppo has no tabular policy — it has spiking and ann"),
        (f"train {ID} --set env=CartPole-v1", "Q-learning has no table for observations of Box("),
        (f"train {ID} --set env=Blackjack-v1", "Q-learning has no table for observations of Tuple("),
        (f"train {ID} --set env=Taxy-v3", "unknown environment 'Taxy-v3' — did you mean Taxi-v3"),
        (f'train {ID} --set environment.kwargs={{"fickle_passenger":true}}', "more than its transition table"),
        (f"train {ID} --set lr=0", "setting 'lr' cannot be '0'"),
        (f"train {ID} --set lr=1.5", "setting 'lr' cannot be '1.5'"),
        (f"train {ID} --set epsilon=1", "unknown setting 'epsilon'"),
        (f"train {ID} --set hidden_sizes=8", "unknown setting 'hidden_sizes'"),
        (f"train {ID} --set reward_scale=2", "reward_scale means nothing for q_learning"),
        (f"train {ID} --num-workers 3", "16 environments cannot be shared by 3 workers"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(capsys, tmp_path, command, expected):
    with pytest.raises(SystemExit) as caught:
        main(command.split(" "))
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err
    assert list(tmp_path.rglob("*")) == []


def test_it_is_listed(capsys):
    with contextlib.suppress(SystemExit):
        main(["list", "--json"])
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[ID]["kind"] == "local"
