"""``cluster.yaml`` against Ray's own loader and schema, and against what the project needs; no cloud is asked."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "cluster.yaml").read_text()
CLOUD_KEYS = ("max_workers", "provider", "auth", "docker", "head_node_type", "available_node_types")


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration as `ray up` would use it, or raise."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    full = prepare_config(config)
    validate_config(full)
    return full


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    full = prepared(config)
    worker = full["available_node_types"]["worker"]
    assert (worker["min_workers"], worker["max_workers"]) == (0, 8)
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert full["available_node_types"]["head"]["max_workers"] == 0
    learner = full["available_node_types"]["learner"]
    assert (learner["min_workers"], learner["max_workers"]) == (0, 1)
    assert learner["docker"]["worker_image"] == config["docker"]["image"].replace("-cpu", "-gpu")


def test_ray_rejects_a_misspelt_key(config: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="max_worker'"):
        prepared({**config, "max_worker": 3})


def test_on_premises_variant(config: dict[str, Any]) -> None:
    match = re.search(r"^# --- on premises\n(.*?)^# --- end$", TEXT, re.MULTILINE | re.DOTALL)
    assert match is not None
    variant = yaml.safe_load(re.sub(r"^# ", "", match.group(1), flags=re.MULTILINE))
    full = prepared({**{key: value for key, value in config.items() if key not in CLOUD_KEYS}, **variant})
    assert full["provider"]["type"] == "local"
    assert full["available_node_types"]["local.cluster.node"]["max_workers"] == 2


def test_what_is_mounted_by_its_name_is_not_left_out(config: dict[str, Any]) -> None:
    """Ray hands its patterns to rsync for each mount: one that names the token would keep it from the cluster."""
    names = [Path(source).name for source in config["file_mounts"].values()]
    assert "auth_token" in names
    assert [(n, pattern) for n in names for pattern in config["rsync_exclude"] if fnmatch(n, pattern)] == []


def test_the_token_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    command = re.search(r"^#   (.*ray get-auth-token --generate\)?)", TEXT, re.MULTILINE)
    assert command is not None
    environment = {n: v for n, v in os.environ.items() if not n.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", command.group(1)], env=environment, check=True, capture_output=True, umask=0o022)
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


def test_job_server_on_loopback_and_a_token_on_every_node(config: dict[str, Any]) -> None:
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert "--dashboard-host=127.0.0.1" in head
    assert all(command.startswith("RAY_AUTH_MODE=token ray start") for command in (head, worker))
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "0.0.0.0" not in TEXT


def test_nodes_install_the_project_as_make_setup_does(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/synrl_ray"] == "."
    assert any(command.endswith("make setup") for command in config["setup_commands"])
    assert re.search(r"^setup:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert f":{importlib.metadata.version('ray')}-" in config["docker"]["image"]


def test_neither_runs_nor_environment_are_copied(config: dict[str, Any]) -> None:
    assert {".git", ".venv", "/runs", "/experiments/results"} <= set(config["rsync_exclude"])
    assert config["rsync_filter"] == [".gitignore"]
