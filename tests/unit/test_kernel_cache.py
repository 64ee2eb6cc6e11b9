"""Where compiled kernels are kept: never where others may write, and never in the way of computing."""

import ast
import errno
import fcntl
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest

import synrl_ray
from synrl_ray import kernel_cache
from synrl_ray.kernel_cache import cache_folder

SOURCE = """
from synrl_ray.compiled import jit

@jit
def doubled(x):
    return 2 * x
"""
OTHER = 65534  # the user that owns nothing


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A source file, and all the places for its cache, each in the test's own folder; each is taken away by a file."""
    home, temporary, package = (tmp_path / name for name in ("home", "temporary", "package"))
    for folder in (home, temporary, package):
        folder.mkdir(mode=0o755)
    (package / "doubled_kernel.py").write_text(SOURCE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # only kernels lie there, and no source is taken for another
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    forget()
    yield {
        "beside": package / "__pycache__",
        "home": home / "numba",
        "temporary": temporary / f"synrl-kernels-{os.getuid()}",
        "source": package / "doubled_kernel.py",
    }
    forget()


def forget():
    for cached in (cache_folder, kernel_cache._say_once, kernel_cache._folder_of_this_process):
        cached.cache_clear()


def loaded(source):
    """The kernel, as a process that has just started has it."""
    forget()
    spec = importlib.util.spec_from_file_location("doubled_kernel", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.doubled


def hits(kernel):
    return sum(kernel.stats.cache_hits.values())


def kept(places):
    return list(cache_folder(places["source"]).glob("*.kernel"))


def test_the_usual_places_in_their_order(places, tmp_path, monkeypatch):
    source = places["source"]
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "named"))
    assert tmp_path / "named" in cache_folder(source).parents
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    forget()
    assert cache_folder(source) == places["beside"]
    for taken, follows in (("beside", "home"), ("home", "temporary")):
        shutil.rmtree(places[taken], ignore_errors=True)
        places[taken].write_text("in the way")
        forget()
        assert places[follows] in cache_folder(source).parents
    places["temporary"].chmod(0o700)
    assert places["temporary"].stat().st_mode & 0o777 == 0o700
    shutil.rmtree(places["temporary"])
    places["temporary"].write_text("in the way")
    forget()
    own = cache_folder(source).parent
    assert own.parent == places["temporary"].parent
    assert own.stat().st_mode & 0o777 == 0o700


def test_no_place_at_all(places, monkeypatch):
    monkeypatch.setattr(kernel_cache, "_candidates", lambda source: iter(()))
    kernel = loaded(places["source"])
    assert kernel(3) == 6
    assert kernel(3.0) == 6.0


def open_folder(path):
    path.mkdir()
    path.chmod(0o777)
    return path


def open_parent(path):
    open_folder(path)
    (path / "inner").mkdir()
    return path / "inner"


def group_folder(path):
    path.mkdir()
    os.chown(path, -1, OTHER)
    path.chmod(0o775)
    return path


def foreign_folder(path):
    path.mkdir()
    os.chown(path, OTHER, OTHER)
    return path


def link_to_open_folder(path):
    open_folder(path)
    (path.parent / "link").symlink_to(path)
    return path.parent / "link"


UNSAFE = [open_folder, open_parent, group_folder, foreign_folder, link_to_open_folder]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders to others")
@pytest.mark.parametrize("unsafe", UNSAFE)
def test_folders_that_others_may_write_are_refused_in_a_line(unsafe, places, tmp_path, monkeypatch, caplog):
    folder = unsafe(tmp_path / "shared")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    with caplog.at_level(logging.WARNING):
        assert cache_folder(places["source"]) == places["beside"]
        cache_folder(tmp_path / "another.py")
    assert [record.getMessage() for record in caplog.records] == [
        f"NUMBA_CACHE_DIR is not used, since others may write to {folder} or we cannot: name a folder of your own"
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders to others")
def test_a_temporary_folder_that_another_user_made_first(places):
    places["beside"].write_text("in the way")
    places["home"].write_text("in the way")
    foreign_folder(places["temporary"])
    folder = cache_folder(places["source"])
    assert places["temporary"] not in folder.parents
    assert folder.parent.name.startswith("synrl-kernels-")
    assert list(places["temporary"].iterdir()) == []


def test_compiled_once(places):
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 1)
    assert (kernel(3.5), hits(kernel)) == (7.0, 1)
    assert len(kept(places)) == 2


def test_compiled_again_after_a_change_of_any_kernel(places, monkeypatch):
    loaded(places["source"])(3)
    monkeypatch.setattr(kernel_cache, "_sources_digest", lambda: b"other")
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)
    assert len(kept(places)) == 1  # the old one is gone
    places["source"].write_text(SOURCE.replace("2 *", "3 *"))
    assert loaded(places["source"])(3) == 9


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "one bit": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    "a pickle": lambda content: b"cos\nsystem\n(S'exit 1'\ntR.",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_replaced(name, places):
    loaded(places["source"])(3)
    (path,) = kept(places)
    path.write_bytes(DAMAGE[name](path.read_bytes()))
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 1)


def test_files_that_do_not_load_are_compiled_again(places, monkeypatch):
    loaded(places["source"])(3)

    def fails(*args):
        raise RuntimeError("of another LLVM")

    monkeypatch.setattr(kernel_cache._Implementation, "rebuild", fails)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)


def test_files_that_others_may_write_are_not_read(places):
    loaded(places["source"])(3)
    kept(places)[0].chmod(0o666)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk(code, places, monkeypatch):
    kernel = loaded(places["source"])

    def fails(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fails)
    assert kernel(3) == 6
    assert kernel(3.0) == 6.0
    assert list(places["beside"].iterdir()) == []


def test_a_folder_that_goes_away(places):
    kernel = loaded(places["source"])
    shutil.rmtree(places["beside"])
    places["beside"].write_text("in the way")
    assert kernel(3) == 6


def test_processes_that_write_at_once(places):
    """Each compiles another signature; both are found afterwards, neither is taken for the other."""
    environment = {**os.environ, "PYTHONPATH": str(places["source"].parent)}
    program = "from doubled_kernel import doubled; assert {}; print(sum(doubled.stats.cache_hits.values()))"
    calls = ("doubled(3) == 6", "doubled(3.5) == 7.0", "doubled(3) == 6")
    running = [subprocess.Popen([sys.executable, "-c", program.format(call)], env=environment) for call in calls]
    assert [process.wait() for process in running] == [0, 0, 0]
    both = program.format(" and ".join(calls))
    assert subprocess.check_output([sys.executable, "-c", both], env=environment, text=True) == "2\n"


@pytest.fixture
def in_work(places):
    """A kernel that another process compiles: its lock, where it will be saved, and what will be there."""
    loaded(places["source"])(3)
    (path,) = kept(places)
    content = path.read_bytes()
    path.unlink()
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock, path, content


def while_waiting(monkeypatch, happens):
    monkeypatch.setattr(
        kernel_cache, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: happens())
    )


def test_a_kernel_that_another_process_compiles_is_waited_for(places, in_work, monkeypatch):
    lock, path, content = in_work

    def saved():
        path.write_bytes(content)
        lock.close()

    while_waiting(monkeypatch, saved)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 1)
    assert list(places["beside"].iterdir()) == [path]


def test_a_kernel_whose_other_process_ends_is_compiled(places, in_work, monkeypatch):
    lock, path, _ = in_work
    while_waiting(monkeypatch, lock.close)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)
    assert list(places["beside"].iterdir()) == [path], "the lock is gone"


def test_a_kernel_is_not_waited_for_without_an_end(places, in_work, monkeypatch):
    monkeypatch.setattr(kernel_cache, "_WAIT_SECONDS", 0.0)
    kernel = loaded(places["source"])
    assert (kernel(3), hits(kernel)) == (6, 0)


def test_an_installation_that_cannot_be_written_and_no_home(tmp_path):
    """No permission stops root, who runs some of these tests: files stand where the folders would be made."""
    package = tmp_path / "site-packages" / "synrl_ray"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name in ("kernel_cache.py", "compiled.py"):
        shutil.copy(Path(synrl_ray.__file__).parent / name, package)
    (package / "doubled_kernel.py").write_text(SOURCE)
    (package / "__pycache__").write_text("in the way")
    (tmp_path / "home").write_text("no folder")
    (tmp_path / "temporary").mkdir()
    nowhere = str(tmp_path / "home")
    environment = {"PATH": os.environ["PATH"], "HOME": nowhere, "XDG_CACHE_HOME": nowhere, "NUMBA_CACHE_DIR": ""}
    environment |= {"PYTHONPATH": str(package.parent), "TMPDIR": str(tmp_path / "temporary")}
    program = "from synrl_ray.doubled_kernel import doubled; print(doubled(3), sum(doubled.stats.cache_hits.values()))"
    for expected in ("6 0\n", "6 1\n"):
        done = subprocess.run(
            [sys.executable, "-B", "-c", program], env=environment, capture_output=True, text=True, cwd=tmp_path
        )
        assert (done.stdout, done.stderr) == (expected, "")


def test_a_home_that_is_unknown_is_no_folder_of_that_name(places, tmp_path, monkeypatch):
    def unknown(user):
        raise KeyError(user)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.chdir(tmp_path / "package")
    places["beside"].write_text("in the way")
    assert places["temporary"] in cache_folder(places["source"]).parents
    assert not Path("~").exists()


def test_every_kernel_is_compiled_so():
    """Only these files know numba: its decorators, its caches, its intrinsics."""
    root = Path(synrl_ray.__file__).parent
    importing = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(name.name.split(".")[0] == "numba" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba")
    }
    assert importing == {"compiled.py", "kernel_cache.py", "snn/vectors.py"}
