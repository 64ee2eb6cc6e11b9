"""Plain pip installs the package, every package of the project is really there and does its job."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from synrl_ray.meta.learn2learn_loader import INSTALL, load_maml

ROOT = Path(__file__).parents[2]
PYTHONS = os.environ.get("SYNRL_PYTHONS", sys.executable).split()  # SYNRL_PYTHONS="/path/python3.11 /path/python3.13"
TRAIN = ("train", "cartpole-ppo", "--stop-steps", "4096", "--run-dir", "run", "--policy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    called(folder, sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.iterdir()
    return built


def called(folder: Path, *command: str | Path, code: int = 0) -> str:
    """What a command says that is run in a folder, without this repository on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def new_environment(folder: Path, python: str, *options: str) -> Path:
    """The folder of programs of an empty virtual environment."""
    called(folder, python, "-m", "venv", *options, folder / "venv")
    return folder / "venv" / "bin"


def assert_trains_outside_the_repository(programs: Path, folder: Path, policy: str) -> None:
    where = called(folder, programs / "python", "-c", "import synrl_ray; print(synrl_ray.__file__)")
    assert Path(where.strip()).is_relative_to(programs.parent)
    assert called(folder, programs / "synrl", "list", "--json") == called(
        ROOT, sys.executable, "-m", "synrl_ray", "list", "--json"
    )
    called(folder, programs / "synrl", *TRAIN, policy)
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["training"][0]["steps"] >= 4096


def test_a_wheel_holds_the_package_its_types_and_every_experiment_but_no_results(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    experiments = {f"synrl_ray/_experiments/{path.name}" for path in (ROOT / "experiments").glob("*.py")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "synrl_ray").rglob("*.py")}
    suffixes = (".css", ".html", ".js")
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "synrl_ray").rglob("*") if path.suffix in suffixes}
    kept = {name for name in names if ".dist-info/" not in name}
    assert kept == experiments | modules | templates | {"synrl_ray/py.typed"}


def test_pip_needs_no_more_than_a_c_compiler(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    required = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    assert not [line for line in required if "extra ==" not in line and line.startswith(("box2d", "learn2learn"))]


@pytest.mark.ray
def test_the_wheel_trains_outside_the_repository_on_the_packages_that_are_here(wheel: Path, tmp_path: Path) -> None:
    """Pip finds all that the wheel asks for among them, with no index; the editable install is not seen.

    Kernels are compiled anew there, hence the policy with the fewest of them.
    """
    programs = new_environment(tmp_path, sys.executable, "--without-pip")
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "here.pth").write_text(sysconfig.get_paths()["purelib"])
    called(tmp_path, programs / "python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
    assert_trains_outside_the_repository(programs, tmp_path, "ann")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("python", PYTHONS)
def test_plain_pip_installs_all_of_it_into_an_empty_environment(wheel: Path, tmp_path: Path, python: str) -> None:
    """Gigabytes from an index and minutes: hence the test above, in each `make test`."""
    programs = new_environment(tmp_path, python)
    called(tmp_path, programs / "pip", "install", "--quiet", "--constraint", ROOT / "requirements.txt", wheel)
    assert_trains_outside_the_repository(programs, tmp_path, "spiking")
    lacks_box2d = called(tmp_path, programs / "synrl", "train", "car-racing-ppo", "--run-dir", "race", code=2)
    assert lacks_box2d.strip().endswith("needs Box2D, which is not installed — pip install 'synrl-ray[box2d]'")
    adapting = ("train", "sinusoid-maml", "--set", "engine=learn2learn", "meta_iterations=2", "--run-dir", "meta")
    assert called(tmp_path, programs / "synrl", *adapting, code=2).strip().endswith(INSTALL)
    assert not (tmp_path / "race").exists()
    assert not (tmp_path / "meta").exists()
    called(tmp_path, programs / "pip", "install", "--quiet", "synrl-ray[box2d]")
    called(tmp_path, programs / "python", "-c", "import gymnasium; gymnasium.make('CarRacing-v3').reset()")
    called(tmp_path, programs / "pip", *INSTALL.partition("or pip ")[2].split())
    called(tmp_path, programs / "synrl", *adapting)


def test_atari_steps() -> None:
    import ale_py

    gym.register_envs(ale_py)
    env = gym.make("ALE/Breakout-v5")
    env.reset(seed=0)
    observation, *_ = env.step(1)
    env.close()
    assert observation.shape == (210, 160, 3)


def test_box2d_steps() -> None:
    env = gym.make("CarRacing-v3")
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0.0, 1.0, 0.0], dtype=np.float32))
    env.close()
    assert observation.shape == (96, 96, 3)


def test_learn2learn_adapts_as_a_gradient_step_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 2.0)
    learner = load_maml()(model, lr=0.1).clone()
    learner.adapt(learner(torch.tensor([[3.0]])).square().sum())  # d/dw (3w)^2 = 18w = 36
    assert learner.module.weight.item() == pytest.approx(2.0 - 0.1 * 36.0)
    learner(torch.ones(1, 1)).sum().backward()
    assert model.weight.grad.item() == pytest.approx(1 - 0.1 * 18.0)  # second order: d(w - 1.8w)/dw


def test_importing_the_package_is_light() -> None:
    code = "import sys, synrl_ray; print(sorted({'torch', 'ray', 'numba', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
