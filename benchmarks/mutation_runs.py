"""Runs tests against mutants, each in a child of the process that has collected and tried the tests."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from mutants import Mutant

FAULT = 3  # exit status of a child in which no test failed, but this program
LIMIT = (5, 3)  # seconds of CPU, and times what the tests took: what takes longer hangs
CACHE = type(functools.cache(len))
DATA = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, slice, re.Pattern)


class Runs:
    """A plugin of pytest that takes the place of its loop over the tests.

    Args:
        sample: the mutants.
        files: those that are mutated.
        out: is given one line of JSON for each mutant.
        package: named there.
        seconds: of CPU that the tests of a mutant may take.
        slowest: seconds of CPU that a test may take to take part.
    """

    def __init__(
        self, sample: list[Mutant], files: list[Path], *, out: Path, package: str, seconds: float, slowest: float
    ) -> None:
        self.sample, self.files, self.out, self.package = sample, {str(path) for path in files}, out, package
        self.most_seconds, self.slowest = seconds, slowest
        self.failed = False
        self.seconds: dict[int, float] = {}
        self.breadth: dict[int, int] = {}
        self.callers: dict[str, set[int]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed |= report.failed

    def pytest_runtestloop(self, session: Any) -> bool:
        self.items = session.items
        self._note_calls()
        functions = defaultdict(list)
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and found.__code__.co_filename in self.files:
                functions[_place(found.__code__)].append(found)
        gc.freeze()
        self._time_in_a_child()
        for mutant in self.sample:
            outcome, num_tests = self._judge(mutant, functions)
            row = {"package": self.package, **mutant.named, "outcome": outcome, "tests": num_tests}
            with self.out.open("a") as out:
                out.write(json.dumps(row) + "\n")
            if outcome != "killed":
                place = f"{mutant.file}:{mutant.number}"
                print(f"{outcome} by {num_tests} tests: {place}  {mutant.line}\n    {mutant.change}", flush=True)
        return True

    def _note_calls(self) -> None:
        """Run the tests here, so that no child has to load kernels, and modules that are imported late."""
        left_out = []
        with _silent():
            for i, item in enumerate(self.items):
                called: set[str] = set()
                sys.settrace(lambda frame, *_, called=called: self._note(frame.f_code, called))
                failed = self._run(i)
                sys.settrace(None)
                if failed:
                    left_out.append(f"left out, fails: {item.nodeid}")
                    continue
                self.seconds[i], self.breadth[i] = 0.0, len(called)
                for place in called:
                    self.callers[place].add(i)
        for line in left_out:
            print(line, flush=True)

    def _note(self, code: CodeType, called: set[str]) -> None:
        if code.co_filename in self.files:
            called.add(_place(code))

    def _time_in_a_child(self) -> None:
        """Once more where mutants run: without what is done once, and without what fails or takes too long there."""
        notes = Path(tempfile.gettempdir()) / "times"
        notes.touch()

        def run_all() -> bool:
            with notes.open("w", buffering=1) as out:
                for i in self.seconds:
                    start = time.process_time()
                    failed = self._run(i)
                    out.write(f"{i} {time.process_time() - start} {failed:d}\n")
            return False

        if _forked(run_all, 3600):
            raise RuntimeError("the tests end a child of this process")
        for i, seconds, failed in (line.split() for line in notes.read_text().splitlines()):
            self.seconds[int(i)] = float(seconds)
            if int(failed) or float(seconds) > self.slowest:
                why = "fails in a child" if int(failed) else f"takes {float(seconds):.0f} s"
                print(f"left out, {why}: {self.items[int(i)].nodeid}", flush=True)
                del self.seconds[int(i)]
        print(f"{len(self.seconds)} of {len(self.items)} tests, {sum(self.seconds.values()):.0f} s of CPU", flush=True)

    def _judge(self, mutant: Mutant, functions: Mapping[str, list[FunctionType]]) -> tuple[str, int]:
        path = str(mutant.root / mutant.file)
        code = _compiled(mutant.source, path)
        pair = _changed_function(_compiled(Path(path).read_text(), path), code)
        live = functions.get(_place(pair[0]), []) if pair else []
        if pair and live and pair[0].co_freevars == pair[1].co_freevars:
            place, breaks = _place(pair[0]), functools.partial(_exchange, live, pair[1])
        else:
            place, breaks = f"{path}:", functools.partial(_graft, path, code)
        tests = self._nearest(
            path, {i for name, those in self.callers.items() if name.startswith(place) for i in those}
        )
        limit = LIMIT[0] + LIMIT[1] * sum(self.seconds[i] for i in tests)
        status = _forked(lambda: breaks() or any(self._run(i) for i in tests), limit) if tests else 0
        return {0: "survived", FAULT: "not run"}.get(status, "killed"), len(tests)

    def _nearest(self, path: str, tests: set[int]) -> list[int]:
        """The tests within the time that a mutant gets: of the same folder first, then those of few functions."""
        folder, spent, taken = f"/{Path(path).parent.name}/", 0.0, []
        by_place = {i: (folder not in str(self.items[i].path), self.breadth[i], self.seconds[i]) for i in self.seconds}
        for i in sorted(tests & set(by_place), key=by_place.__getitem__):
            if not taken or spent + self.seconds[i] < self.most_seconds:
                spent += self.seconds[i]
                taken.append(i)
        return taken

    def _run(self, i: int) -> bool:
        """Whether a test fails; what it shares with others, fixtures and caches, is made for it alone."""
        self.failed = False
        for module in [module for name, module in sys.modules.items() if name.startswith("synrl_ray.")]:
            for cache in vars(module).values():
                if isinstance(cache, CACHE):
                    cache.cache_clear()
        self.items[i].config.hook.pytest_runtest_protocol(item=self.items[i], nextitem=None)
        return self.failed


def _compiled(source: str, path: str) -> CodeType:
    return compile(source, path, "exec", dont_inherit=True)


def _place(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_qualname}:{code.co_firstlineno}"


def _changed_function(before: CodeType, after: CodeType) -> tuple[CodeType, CodeType] | None:
    """The one function that differs; ``None`` if what differs is executed at import."""
    parts, rest = ([], []), ([], [])
    for code, inner, outer in zip((before, after), parts, rest, strict=True):
        for constant in code.co_consts:
            (inner if isinstance(constant, CodeType) else outer).append(constant)
    if repr(rest[0]) != repr(rest[1]) or (before.co_code, before.co_names) != (after.co_code, after.co_names):
        return None
    differ = [pair for pair in zip(*parts, strict=True) if pair[0] != pair[1]]
    if len(differ) != 1:
        return None
    return differ[0] if differ[0][0].co_flags & inspect.CO_OPTIMIZED else _changed_function(*differ[0])


def _exchange(live: list[FunctionType], code: CodeType) -> bool:
    for function in live:
        function.__code__ = code
    return False


def _graft(path: str, code: CodeType) -> bool:
    """Give a module that is imported the constants, defaults and fields of other code, and those who know them.

    Returns:
        Whether that code cannot be imported at all.

    Raises:
        ValueError: if nothing of all that differs.
    """
    (live,) = (module for module in list(sys.modules.values()) if getattr(module, "__file__", None) == path)
    fresh = {"__name__": live.__name__, "__file__": path, "__package__": live.__package__}
    try:
        exec(code, fresh)
    except Exception:
        return True
    places = [vars(module) for name, module in sys.modules.items() if name.startswith(("synrl_ray", "test_"))]

    def put(name: str, old: Any, new: Any) -> None:
        for place in places:
            if place.get(name) is old:
                place[name] = new

    if not _graft_members(vars(live), fresh, put):
        raise ValueError("nothing differs")
    return False


def _graft_members(old: Mapping[str, Any], new: Mapping[str, Any], put: Callable[[str, Any, Any], None]) -> bool:
    differ = False
    for name, value in new.items():
        before = old.get(name)
        if value is before or type(before) is not type(value) or name in ("__file__", "__doc__"):
            continue
        if isinstance(value, type):
            if (value.__module__, value.__qualname__) == (before.__module__, before.__qualname__):
                set_member = functools.partial(_set_member, before)
                differ |= _graft_members(dict(vars(before)), vars(value), set_member)
        elif isinstance(value, FunctionType | staticmethod | classmethod):
            value, before = inspect.unwrap(value), inspect.unwrap(before)
            for kind in ("__defaults__", "__kwdefaults__"):
                if repr(getattr(before, kind)) != repr(getattr(value, kind)):
                    setattr(before, kind, getattr(value, kind))
                    differ = True
        elif isinstance(value, DATA) and repr(before) != repr(value):
            put(name, before, value)
            differ = True
    return differ


def _set_member(owner: type, name: str, _: Any, new: Any) -> None:
    setattr(owner, name, new)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What is printed meanwhile, by this process and those that it starts, is dropped."""
    sys.stdout.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nothing, stream)
        yield
    finally:
        sys.stdout.flush()
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
        for handle in (*kept, nothing):
            os.close(handle)


def _forked(act: Callable[[], bool], limit: float) -> int:
    """The exit status of a child that acts, 1 if ``act`` is true, or the signal that ended it, negative."""
    child = os.fork()
    if child == 0:
        status = FAULT
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 1))
            with _silent():
                status = int(act())
        except BaseException:
            (Path(tempfile.gettempdir()) / "fault").write_text(traceback.format_exc())
        finally:
            os._exit(status)
    end = time.monotonic() + 60 + 10 * limit  # of a child that waits for something; others may use the machine
    while time.monotonic() < end:
        if (found := os.waitpid(child, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(found[1])
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
