"""Output on any terminal: every encoding, every width, streams that are closed, full or gone."""

import io
import os
import subprocess
import sys

import pytest

from synrl_ray import terminal
from synrl_ray.api import searching
from synrl_ray.cli import main

SAID = "±0.5 — 3× … → µ “x” 日 ✓"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", SAID),
        ("ascii", '+/-0.5 - 3x ... -> u "x" \\u65e5 \\u2713'),
        ("latin-1", '±0.5 - 3× ... -> µ "x" \\u65e5 \\u2713'),
        ("cp1252", "±0.5 — 3× … -> µ “x” \\u65e5 \\u2713"),
        ("koi8-r", '+/-0.5 - 3x ... -> u "x" \\u65e5 \\u2713'),
    ],
)
def test_what_an_encoding_lacks_is_written_in_plain_letters(monkeypatch, encoding, expected):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.adapt_streams()
    print(SAID, end="", flush=True)
    assert stream.buffer.getvalue().decode(encoding) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_file_name_that_is_no_text_is_written_byte_by_byte(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.adapt_streams()
    print(os.fsdecode(b"caf\xe9"), end="", flush=True)
    assert stream.buffer.getvalue() == b"caf\xe9"


class Gone(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def write(self, text):
        self.calls += 1
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "gone"), OSError(28, "full"), OSError(5, "hung up"), ValueError()]
)
def test_progress_ends_where_nobody_sees_it_and_the_work_goes_on(error):
    gone = Gone(error)
    lasting = terminal.Lasting(gone)
    for _ in range(3):
        assert lasting.write("abc") == 3
        lasting.flush()
    assert gone.calls == 1
    assert terminal.Lasting(sys.stderr).encoding == sys.stderr.encoding


def test_a_search_goes_on_when_nobody_reads_its_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Gone(BrokenPipeError(32, "gone")))
    searching._print("trial 0 finished")


@pytest.mark.parametrize("columns", [1, 20, 40, 80, 200])
def test_help_names_every_option_at_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert not ended.value.code
    words = capsys.readouterr().out.split()
    assert {"--policy", "--num-learners", "--stop-steps", "--run-dir", "--storage", "--trust"} <= set(words)


def run(arguments, redirection="", **environment):
    """Exit status, standard output and standard error of a command in a shell."""
    script = f"exec '{sys.executable}' -m synrl_ray {arguments} {redirection}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env={**os.environ, **environment}, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("arguments", ["list", "tune --help", "train no-such"])
def test_commands_speak_every_encoding(arguments, encoding):
    status, out, err = run(arguments, PYTHONIOENCODING=encoding)
    assert (status, b"Traceback" in err) == (2 if "no-such" in arguments else 0, False)
    assert (out + err).decode(encoding)
    assert b"\\u" not in out + err


def test_commands_speak_the_c_locale():
    status, out, err = run("train no-such", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert (status, out, b"Traceback" in err) == (2, b"", False), err
    assert err.startswith(b"synrl: unknown experiment 'no-such' - did you mean")


@pytest.mark.parametrize(
    ("arguments", "redirection", "status", "said"),
    [
        ("list", ">&-", 0, b""),
        ("train no-such", "2>&-", 2, b""),
        ("list", ">/dev/full", 2, b"synrl: nothing more can be written (No space left on device)"),
        ("train no-such", "2>/dev/full", 2, b""),
        ("list", "> >(exec 1>&-; exec true)", 0, b""),
        ("train --help", "> >(exec true)", 0, b""),
        ("train no-such", "2> >(exec true)", 2, b""),
    ],
)
def test_streams_that_are_closed_full_or_gone(arguments, redirection, status, said):
    code, _, err = run(arguments, redirection)
    assert code == status
    assert err.startswith(said)
    assert err.count(b"\n") == bool(said)
