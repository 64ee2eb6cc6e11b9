import io
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from synrl_ray import commands
from synrl_ray.commands import command
from synrl_ray.errors import NonFiniteError, UserError, reason_of


@pytest.fixture(autouse=True)
def found_by_name(monkeypatch):
    monkeypatch.setattr(commands.shutil, "which", lambda name: f"/bin/{name}")


def speaking(monkeypatch, encoding):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))


WORDS = [
    "a b",
    "it's",
    'say "hi"',
    "läuft",
    "日本",
    "$HOME",
    "`id`",
    "a;b",
    "*",
    "a\nb",
    "a\tb",
    "\x1b[31m",
    "\udcff",
    "",
]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_a_shell_reads_back_every_word(monkeypatch, word, encoding):
    speaking(monkeypatch, encoding)
    printed = command("train", "--resume", word)
    monkeypatch.undo()
    assert "\n" not in printed
    printed.encode(encoding)
    script = printed.replace("synrl", "printf '%s\\0'", 1).encode()
    read = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert read.decode(errors="surrogateescape").split("\0")[:-1] == ["train", "--resume", word]


def test_plain_paths_stay_as_they_are():
    assert command("train", "--resume", Path("runs/x/spiking-seed0")) == "synrl train --resume runs/x/spiking-seed0"


def test_a_path_that_begins_with_a_dash_is_no_option():
    assert command("evaluate", Path("-x y")) == "synrl evaluate './-x y'"
    assert command("evaluate", "--video", Path("runs/-x")) == "synrl evaluate --video runs/-x"


def test_where_the_shell_does_not_find_the_program_it_is_named_as_it_was_started(monkeypatch):
    monkeypatch.setattr(commands.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["my env/bin/synrl", "list"])
    assert command("list") == "'my env/bin/synrl' list"
    monkeypatch.setattr(sys, "argv", [str(Path(commands.__file__).with_name("__main__.py")), "list"])
    assert shlex.split(command("list")) == [sys.executable, "-m", "synrl_ray", "list"]
    monkeypatch.setattr(sys, "argv", ["worker.py"])
    assert command("list") == "synrl list"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("too large"), "too large"),
        (ValueError("too\n\n  large"), "too large"),
        (ValueError("\n \nfirst\n" + "more\n" * 100), "first"),
        (ValueError("x" * 1000), "x" * 300 + " …"),
        (ValueError("a\x1b[31m\udcff"), "a?[31m?"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (ValueError(None), "ValueError"),
        (AssertionError(), "AssertionError"),
        (KeyError("format"), "no 'format'"),
        (KeyError(), "KeyError"),
        (OSError(28, "No space left on device", "/a"), "No space left on device: /a"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(), "OSError"),
        (UserError("a", "b"), "a — b"),
        (NonFiniteError("loss", "here", "lower it"), "loss is not finite (here) — lower it"),
    ],
    ids=repr,
)
def test_a_reason_is_one_line_and_never_empty(error, reason):
    assert reason_of(error) == reason


def test_a_reason_can_name_its_error_once():
    assert reason_of(ValueError("too large"), named=True) == "ValueError: too large"
    assert reason_of(ValueError(), named=True) == "ValueError"
