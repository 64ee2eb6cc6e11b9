"""Python in README and docs runs as written, and the commands there exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synrl_ray.cli import app
from synrl_ray.registry import get_experiment

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def _found(pattern: str, flags: re.RegexFlag) -> list[tuple[str, str]]:
    return [(page.name, match) for page in PAGES for match in re.findall(pattern, page.read_text(), flags)]


PYTHON_BLOCKS = _found(r"```python\n(.*?)```", re.DOTALL)
COMMANDS = _found(r"^\$ synrl (.*?)(?: +#.*)?$", re.MULTILINE)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("page", "code"), PYTHON_BLOCKS, ids=[f"{page} {code[:30]}" for page, code in PYTHON_BLOCKS])
def test_python_block_runs(page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {"__name__": "page"})


def test_own_algorithm_takes_at_most_fifteen_lines() -> None:
    block = next(block for _, block in PYTHON_BLOCKS if "PPOConfig" in block)
    assert len([line for line in block.splitlines() if line.strip()]) <= 15


def test_own_environment_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(block for _, block in PYTHON_BLOCKS if 'id="my-env"' in block)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "my_env.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    assert get_experiment("my-env").stopping.env_steps == 200_000


@pytest.mark.parametrize("command", [command for _, command in COMMANDS if "…" not in command])
def test_command_parses(command: str) -> None:
    _, bound, _ = app.parse_args(command.split(), exit_on_error=False, print_error=False)[:3]
    assert bound is not None
