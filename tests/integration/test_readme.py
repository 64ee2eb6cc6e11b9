"""The README's Python runs as written, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synrl_ray.cli import app
from synrl_ray.registry import get_experiment

README = Path(__file__).parents[2] / "README.md"
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
COMMANDS = re.findall(r"^\$ synrl (.*?)(?: +#.*)?$", README.read_text(), flags=re.M)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("code", PYTHON_BLOCKS, ids=[block.splitlines()[0][:40] for block in PYTHON_BLOCKS])
def test_python_block_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").symlink_to(README.parent / "experiments")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_own_algorithm_takes_at_most_fifteen_lines() -> None:
    block = next(block for block in PYTHON_BLOCKS if "PPOConfig" in block)
    assert len([line for line in block.splitlines() if line.strip()]) <= 15


def test_own_environment_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(block for block in PYTHON_BLOCKS if 'id="my-env"' in block)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "my_env.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    assert get_experiment("my-env").stopping.env_steps == 200_000


@pytest.mark.parametrize("command", [command for command in COMMANDS if "…" not in command])
def test_command_parses(command: str) -> None:
    _, bound, _ = app.parse_args(command.split(), exit_on_error=False, print_error=False)[:3]
    assert bound is not None
