"""A policy's folder from a stranger: nothing in it is executed, and it cannot ask for memory that it does not bring."""

import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from synrl_ray import load_policy
from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE

RESULTS = Path(__file__).parents[3] / "experiments" / "results"
KINDS = ["cartpole-ppo/spiking", "cartpole-ppo/ann", "taxi-q-learning/tabular", "maze-rstdp/spiking"]


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    shutil.copytree(RESULTS / request.param, tmp_path / "policy")
    return tmp_path / "policy"


def refusal(folder):
    with pytest.raises(UserError) as caught:
        load_policy(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def describe(folder, **changes):
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    (folder / DESCRIPTION_FILE).write_text(json.dumps({**description, **changes}))


@pytest.mark.parametrize("write", [lambda trap, path: path.write_bytes(pickle.dumps(trap)), torch.save])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, DESCRIPTION_FILE])
def test_a_pickle_is_not_executed(folder, tmp_path, write, name):
    write(Trap(tmp_path / "executed"), folder / name)
    assert "is damaged" in refusal(folder)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder)])
    assert ended.value.code == 2
    assert not (tmp_path / "executed").exists()


def test_pickles_beside_the_policy_are_not_read(folder, tmp_path):
    for name in ("policy.pkl", "policy.pt", "checkpoint.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    load_policy(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8, 1000])
def test_a_header_that_claims_to_be_huge_is_refused(folder, length):
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", length) + content[8:500])
    assert "is damaged" in refusal(folder)


def test_a_tensor_outside_of_the_file_is_refused(folder):
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(header)) + header)
    assert "is damaged" in refusal(folder)


def test_names_of_tensors_are_no_paths(folder, tmp_path):
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({**weights, "../../escaped": torch.zeros(3)}, folder / WEIGHTS_FILE)
    assert "is damaged" in refusal(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' * 100_000, json.dumps({"format": 1, "x": "y" * 2**21})])
def test_a_description_that_is_deep_or_long_is_refused(folder, content):
    (folder / DESCRIPTION_FILE).write_text(content)
    assert "is damaged" in refusal(folder)


@pytest.mark.parametrize(
    "kind", ["os.system", "synrl_ray.policies.policy.Policy", "__import__('os')", None, ["ann"], 3]
)
def test_only_known_networks_are_built(folder, kind):
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    key, name = ("policy", "kind") if "policy" in description else ("settings", "name")
    describe(folder, **{key: {**description[key], name: kind}})
    assert "is damaged" in refusal(folder)


GREEDY = [
    {"policy": {"kind": "ann", "hidden_sizes": [100_000, 100_000]}},
    {"policy": {"kind": "spiking", "hidden_sizes": [10**9]}},
    {"observation_space": {"type": "Box", "shape": [10**6, 10**5], "dtype": "float32", "low": 0, "high": 1}},
    {"observation_space": {"type": "Discrete", "n": 10**12, "start": 0}},
    {"action_space": {"type": "Discrete", "n": 10**12, "start": 0}},
]


@pytest.mark.parametrize("changes", GREEDY, ids=json.dumps)
def test_a_description_cannot_ask_for_memory_that_the_weights_do_not_bring(changes, tmp_path):
    shutil.copytree(RESULTS / "cartpole-ppo" / "spiking", tmp_path / "policy")
    describe(tmp_path / "policy", **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "is damaged" in refusal(tmp_path / "policy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # in KiB: a gigabyte


def test_the_environment_is_made_only_where_it_is_evaluated(tmp_path):
    shutil.copytree(RESULTS / "cartpole-ppo" / "spiking", tmp_path / "policy")
    (tmp_path / "policy" / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'executed')!r})")
    describe(tmp_path / "policy", environment={"id": "evil:Evil-v0", "kwargs": {}, "preprocessing": None})
    load_policy(tmp_path / "policy")
    done = subprocess.run(
        [Path(sys.executable).parent / "synrl", "evaluate", "."],
        cwd=tmp_path / "policy",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "evil" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "executed").exists()
