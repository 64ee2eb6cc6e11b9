"""``docs/rayjob.yaml`` and the image that it names fit Ray, the command line and one another; no cluster is asked."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from synrl_ray.cli import app, train
from synrl_ray.registry import get_experiment

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "rayjob.yaml").read_text()


@pytest.fixture
def job() -> dict[str, Any]:
    found, _ = yaml.safe_load_all(TEXT)
    return found["spec"]


def _pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_kinds() -> None:
    kinds = [(document["apiVersion"], document["kind"]) for document in yaml.safe_load_all(TEXT)]
    assert kinds == [("ray.io/v1", "RayJob"), ("v1", "PersistentVolumeClaim")]


@pytest.mark.parametrize("line", [0, 1], ids=["entrypoint", "to go on"])
def test_its_lines_are_commands_of_ours(job: dict[str, Any], line: int) -> None:
    resumed = re.search(r"^#\s+(synrl train --resume .*)$", TEXT, re.MULTILINE)
    assert resumed is not None
    name, *arguments = shlex.split((job["entrypoint"], resumed.group(1))[line])
    command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert (name, command) == ("synrl", train)
    if line == 0:
        assert get_experiment(bound.arguments["experiment"]).id == "cartpole-ppo"
        assert bound.arguments["run_dir"].is_relative_to("/runs")


def test_every_pod_has_the_image_the_runs_and_the_key_of_their_seals(job: dict[str, Any]) -> None:
    (claim,) = [d["metadata"]["name"] for d in yaml.safe_load_all(TEXT) if d["kind"] == "PersistentVolumeClaim"]
    pods = _pods(job)
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["containers"]
        assert container["image"] == "REGISTRY/synrl:0.1"
        assert {"name": "XDG_CONFIG_HOME", "value": "/runs/.config"} in container["env"]
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/runs"]
        assert pod["volumes"] == [{"name": "runs", "persistentVolumeClaim": {"claimName": claim}}]
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_a_token_and_versions_that_fit(job: dict[str, Any]) -> None:
    version = importlib.metadata.version("ray")
    assert job["rayClusterSpec"]["rayVersion"] == version
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    image = (REPOSITORY / "docs" / "Dockerfile").read_text()
    assert f"FROM {yaml.safe_load((REPOSITORY / 'cluster.yaml').read_text())['docker']['image']}" in image
    assert f":{version}-" in image
    assert importlib.metadata.version("synrl_ray").startswith("0.1")
