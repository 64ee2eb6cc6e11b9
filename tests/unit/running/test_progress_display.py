import io

import pytest
from rich.console import Console

from synrl_ray.running import display
from synrl_ray.running.progress import Progress, ignore


def progress(**values):
    return Progress(**{"label": "ann seed 0", "phase": "training", "total": 1000, **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"steps": 400, "steps_per_second": 20.0}, 30.0),
        ({"steps": 1000, "steps_per_second": 20.0}, 0.0),
        ({"steps": 1100, "steps_per_second": 20.0}, 0.0),
        ({"steps": 400}, None),
    ],
)
def test_time_left_is_the_steps_left_at_the_present_rate(values, expected):
    assert progress(**values).seconds_left == expected


def test_nobody_has_to_watch():
    assert ignore(progress()) is None


@pytest.fixture
def lines(monkeypatch):
    """A line watcher on a clock that the test sets, and what it has printed."""
    clock, stream = [1000.0], io.StringIO()
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])
    watcher = display._LineWatcher(Console(file=stream, width=40, highlight=False))

    def at(seconds, **values):
        clock[0] = 1000.0 + seconds
        stream.seek(0)
        stream.truncate()
        watcher(progress(**values))
        return stream.getvalue()

    return at


def test_first_line_says_that_ray_starts(lines):
    assert lines(0, phase="starting") == "ann seed 0: starting Ray and the environments\n"


def test_line_shows_steps_returns_speed_and_time_left(lines):
    line = lines(0, steps=400, figures=(("return", 21.04), ("greedy", 50.0)), steps_per_second=8.0)
    assert line == "ann seed 0:       400 / 1,000 steps  return 21.0  greedy 50.0  8 steps/s  1:15 left\n"


def test_line_shows_the_speed_of_what_takes_seconds_a_step(lines):
    assert "  0.43 steps/s  " in lines(0, steps=400, steps_per_second=0.4321)


def test_line_says_that_it_evaluates(lines):
    assert lines(0, phase="evaluating", steps=400).endswith("steps  evaluating\n")


def test_a_line_with_its_bar_fits_into_80_columns_while_it_evaluates(lines):
    figures = (("return", -1234.56), ("greedy", -1234.56))
    line = lines(0, phase="evaluating", figures=figures, steps_per_second=4100.0)
    assert line.endswith("return -1234.6  greedy -1234.6  evaluating\n")


def test_last_line_has_no_speed(lines):
    line = lines(0, phase="done", steps=1000, figures=(("greedy", 500.0),), steps_per_second=8.0)
    assert line == "ann seed 0:     1,000 / 1,000 steps  greedy 500.0  done\n"


def test_return_of_zero_is_shown(lines):
    assert "return 0.0" in lines(0, figures=(("return", 0.0),))


def test_lines_come_every_five_seconds_and_at_milestones(lines):
    assert lines(0, phase="starting")
    assert not lines(1)
    assert not lines(4.9)
    assert lines(5.0, steps=100)
    assert not lines(9.9, steps=200)
    assert lines(9.9, phase="done")
    assert not lines(9.95, phase="done")


def test_runs_are_shown_independently(lines):
    assert lines(0, label="ann seed 0")
    assert lines(0.1, label="ann seed 1").startswith("ann seed 1:")
    assert not lines(0.2, label="ann seed 0")


def test_output_that_is_no_terminal_gets_plain_lines_on_standard_error(capsys):
    with display.watch_runs() as watch:
        watch(progress(phase="starting"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ann seed 0: ")
    assert "\x1b" not in err


def test_terminal_gets_one_bar_for_each_run(monkeypatch):
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=120, highlight=False)
    monkeypatch.setattr(display, "Console", lambda **options: terminal)
    with display.watch_runs() as watch:
        for values in ({"phase": "starting"}, {"steps": 400, "figures": (("return", 21.0),)}, {"steps": 1200}):
            watch(progress(**values))
            watch(progress(label="ann seed 1", **values))
        assert {task.description: (task.completed, task.total) for task in watch.bars.tasks} == {
            "ann seed 0": (1000, 1000),
            "ann seed 1": (1000, 1000),
        }
    assert "1.2k/1k" in stream.getvalue()


def test_quiet_terminal_gets_plain_lines(monkeypatch):
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=120, highlight=False)
    monkeypatch.setattr(display, "Console", lambda **options: terminal)
    with display.watch_runs(quiet=True) as watch:
        watch(progress(phase="starting"))
    assert stream.getvalue() == "ann seed 0: starting Ray and the environments\n"


def test_a_notebook_gets_plain_lines_on_standard_error(monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with display.watch_runs() as watch:
        watch(progress(phase="starting"))
    assert capsys.readouterr().err == "ann seed 0: starting Ray and the environments\n"


class Terminal(io.StringIO):
    """A terminal of any width and kind."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "bars"),
    [
        ({"COLUMNS": "20"}, False),
        ({"COLUMNS": "79"}, False),
        ({"COLUMNS": "80"}, True),
        ({"COLUMNS": "200"}, True),
        ({"COLUMNS": "200", "TERM": "dumb"}, False),
        ({"COLUMNS": "200", "NO_COLOR": "1"}, True),
    ],
)
def test_bars_are_drawn_where_they_can_be(monkeypatch, environment, bars):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = Terminal()
    monkeypatch.setattr(display.sys, "stderr", screen)
    with display.watch_runs() as watch:
        watch(progress(steps=400, figures=(("return", 21.0),), steps_per_second=8.0, notices=("see /a/[red]b",)))
    shown = screen.getvalue()
    assert ("\x1b[?25l" in shown) == bars  # the cursor is hidden
    assert ("\x1b[3" in shown or "\x1b[9" in shown) == (bars and "NO_COLOR" not in environment)
    for said in ("ann seed 0: see /a/[red]b", "return 21.0", "8 steps/s", "1:15 left"):
        assert said in shown


def test_a_file_is_no_terminal_whatever_the_colours(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with display.watch_runs() as watch:
        watch(progress(phase="starting"))
    assert capsys.readouterr().err == "ann seed 0: starting Ray and the environments\n"


def test_training_goes_on_when_nobody_reads_its_progress(monkeypatch):
    class Gone(Terminal):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(display.sys, "stderr", Gone())
    with display.watch_runs() as watch:
        for phase in ("starting", "training", "done"):
            watch(progress(phase=phase))
