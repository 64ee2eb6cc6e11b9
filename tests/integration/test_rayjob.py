"""``docs/rayjob.yaml`` and the image that it names fit Ray, the command line and one another; no cluster is asked."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from synrl_ray.cli import app, train
from synrl_ray.registry import get_experiment
from synrl_ray.running.seal_key import seal_key

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "rayjob.yaml").read_text()
DOCKERFILE = (REPOSITORY / "docs" / "Dockerfile").read_text()


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
    assert len(pods) == 3
    for pod in pods:
        (container,) = pod["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        key = Path(environment["SYNRL_SEAL_KEY"])
        assert mounts[str(key.parent)] == {"name": "seal", "mountPath": str(key.parent), "readOnly": True}
        assert volumes["seal"]["secret"] == {"secretName": "synrl-seal", "defaultMode": 0o400}
        assert f"create secret generic synrl-seal --from-file={key.name}\n" in TEXT
        assert volumes[mounts["/runs"]["name"]]["persistentVolumeClaim"] == {"claimName": claim}
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_a_gpu_comes_for_a_learner_alone(job: dict[str, Any]) -> None:
    *others, learner = _pods(job)
    assert job["rayClusterSpec"]["workerGroupSpecs"][-1]["minReplicas"] == 0
    assert learner["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert all("nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"] for pod in others)


def test_the_key_is_one_that_seals_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made by the command in the file, and mounted as Kubernetes does it: links, readable by the pod's group."""
    command = next(line for line in TEXT.splitlines() if "/dev/urandom" in line).removeprefix("#")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    assert (tmp_path / "checkpoint.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "..data").mkdir()
    mounted = (tmp_path / "checkpoint.key").rename(tmp_path / "..data" / "checkpoint.key")
    mounted.chmod(0o440)
    (tmp_path / "checkpoint.key").symlink_to("..data/checkpoint.key")
    monkeypatch.setenv("SYNRL_SEAL_KEY", str(tmp_path / "checkpoint.key"))
    assert seal_key(create=True) == mounted.read_bytes()


def test_no_container_is_privileged(job: dict[str, Any]) -> None:
    """What the "restricted" standard of Kubernetes asks, of the containers that KubeRay adds as well."""
    pods = [*_pods(job), job["submitterPodTemplate"]["spec"]]
    autoscaler = job["rayClusterSpec"]["autoscalerOptions"]
    assert len(pods) == 4
    for pod in pods:
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["fsGroup"]) == (True, 1000, 100)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    containers = [container for pod in pods for container in pod["containers"]]
    for container in (*containers, autoscaler):
        context = container["securityContext"]
        assert (context["runAsNonRoot"], context["allowPrivilegeEscalation"], context["privileged"]) == (
            True,
            False,
            False,
        )
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    for pod in pods:
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_only_the_autoscaler_can_ask_kubernetes(job: dict[str, Any]) -> None:
    head, *workers = _pods(job)
    assert "automountServiceAccountToken" not in head
    for pod in (*workers, job["submitterPodTemplate"]["spec"]):
        assert pod["automountServiceAccountToken"] is False


def test_images_are_named_by_digest(job: dict[str, Any]) -> None:
    """The digest is the reader's own: a registry gives it when the image is pushed."""
    containers = [c for pod in (*_pods(job), job["submitterPodTemplate"]["spec"]) for c in pod["containers"]]
    (image,) = {container["image"] for container in containers}
    assert image == "REGISTRY/synrl@sha256:DIGEST"
    assert image in DOCKERFILE
    assert "docker inspect --format '{{index .RepoDigests 0}}' REGISTRY/synrl:0.1" in DOCKERFILE
    user = DOCKERFILE.splitlines()[-1]
    context = _pods(job)[0]["securityContext"]
    assert user == f"USER {context['runAsUser']}:{context['runAsGroup']}"


def test_a_token_and_versions_that_fit(job: dict[str, Any]) -> None:
    version = importlib.metadata.version("ray")
    assert job["rayClusterSpec"]["rayVersion"] == version
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    base = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["docker"]["image"]
    assert f":{version}-" in base
    assert f"\nARG BASE={base}\nFROM ${{BASE}}\n" in DOCKERFILE
    assert f"docker inspect --format '{{{{index .RepoDigests 0}}}}' {base}\n" in DOCKERFILE
    assert importlib.metadata.version("synrl_ray").startswith("0.1")
