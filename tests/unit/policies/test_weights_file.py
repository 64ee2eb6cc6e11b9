"""The file of weights: its header, its size and its numbers, held to the module that is described."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from synrl_ray.errors import UserError
from synrl_ray.policies import weights
from synrl_ray.policies.weights import load_module

WEIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
BIAS = torch.tensor([7.0, 8.0, 9.0])
NAMES = {torch.float32: "F32", torch.float64: "F64", torch.int8: "I8", torch.int64: "I64"}


def write(folder, tensors, *, header=None, pad=0, extra=b""):
    """A file of tensors as safetensors has it: length of the header, header, data."""
    entries, data = {}, b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().tobytes()
        span = [len(data), len(data) + len(content)]
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": span}
        data += content
    written = json.dumps({"__metadata__": {"made": "by hand"}, **entries} if header is None else header).encode()
    written += b" " * max(0, pad - len(written))
    (folder / "policy.safetensors").write_bytes(len(written).to_bytes(8, "little") + written + data + extra)
    return folder


def layer():
    return nn.Linear(2, 3)


def test_the_weights_are_those_in_the_file(tmp_path):
    module = load_module(layer, write(tmp_path, {"weight": WEIGHT, "bias": BIAS}))
    assert torch.equal(module.weight, WEIGHT)
    assert torch.equal(module.bias, BIAS)
    assert module(torch.ones(1, 2)).tolist() == [[10, 15, 20]]


@pytest.mark.parametrize(("given", "times"), [({}, 1), ({"anew": False}, 1), ({"anew": True}, 2)])
def test_a_module_is_made_without_numbers_and_where_it_has_more_a_second_time(tmp_path, given, times):
    made = []

    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(2, 3)
            self.beside = torch.full((1,), 3.0)  # no part of the state dictionary
            made.append(self.weight.device.type)

    module = load_module(Scaled, write(tmp_path, {"weight": WEIGHT, "bias": BIAS}), **given)
    assert made == ["meta", "cpu"][:times]
    assert torch.equal(module.weight, WEIGHT)
    assert module.beside.device.type == ("cpu" if times == 2 else "meta")


def test_tensors_lie_in_memory_as_the_modules_own(tmp_path):
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.zeros(2, 3).T)

    module = load_module(Turned, write(tmp_path, {"weight": WEIGHT}))
    assert module.weight.stride() == (1, 3)
    assert torch.equal(module.weight, WEIGHT)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"weight": WEIGHT}, "there is no bias"),
        ({"weight": WEIGHT, "bias": BIAS.double()}, r"bias is F64 \[3\], not F32 \[3\]"),
        ({"weight": WEIGHT.T, "bias": BIAS}, r"weight is F32 \[2, 3\], not F32 \[3, 2\]"),
        ({"weight": WEIGHT, "bias": BIAS, "more": BIAS}, "'more' is no weight of the network that is described"),
        ({"weight": WEIGHT, "bias": torch.tensor([1.0, float("nan"), 2.0])}, "bias is not finite"),
        ({"weight": WEIGHT, "bias": torch.tensor([1.0, 2.0, -float("inf")])}, "bias is not finite"),
        ({"weight": WEIGHT, "bias": torch.tensor([float("inf"), -float("inf"), 0.0])}, "bias is not finite"),
    ],
)
def test_other_tensors_are_refused_by_name(tmp_path, tensors, says):
    with pytest.raises(UserError, match=rf"policy.safetensors is damaged \({says}\)"):
        load_module(layer, write(tmp_path, tensors))


def test_large_numbers_whose_sum_overflows_and_whole_numbers_are_finite(tmp_path):
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("large", torch.zeros(2))
            self.register_buffer("count", torch.zeros(2, dtype=torch.int64))

    tensors = {"large": torch.tensor([3e38, 3e38]), "count": torch.tensor([2**62, 2**62])}
    module = load_module(Counted, write(tmp_path, tensors))
    assert torch.equal(module.large, tensors["large"])
    assert torch.equal(module.count, tensors["count"])


@pytest.mark.parametrize(("extra", "found"), [(b"x", 37), (b"xxxx", 40)])
def test_bytes_behind_the_weights_are_refused(tmp_path, extra, found):
    folder = write(tmp_path, {"weight": WEIGHT, "bias": BIAS}, extra=extra)
    with pytest.raises(UserError, match=f"it holds {found} bytes of weights, not 36"):
        load_module(layer, folder)


@pytest.mark.parametrize("missing", [1, 36, 37, 100])
def test_a_file_that_was_cut_short_is_damage(tmp_path, missing):
    file = write(tmp_path, {"weight": WEIGHT, "bias": BIAS}) / "policy.safetensors"
    os.truncate(file, file.stat().st_size - missing)
    says = f"it holds {36 - missing} bytes of weights, not 36" if missing <= 36 else "it is cut short"
    with pytest.raises(UserError, match=says):
        load_module(layer, tmp_path)


@pytest.mark.parametrize("size", [0, 4, 7])
def test_a_file_without_a_whole_length_is_cut_short(tmp_path, size):
    (tmp_path / "policy.safetensors").write_bytes(bytes(size))
    with pytest.raises(UserError, match="it is cut short"):
        load_module(layer, tmp_path)


def test_a_header_is_read_up_to_its_bound(tmp_path):
    module = load_module(layer, write(tmp_path, {"weight": WEIGHT, "bias": BIAS}, pad=1024**2))
    assert torch.equal(module.weight, WEIGHT)
    with pytest.raises(UserError, match="its header is larger than 1,048,576 bytes"):
        load_module(layer, write(tmp_path, {"weight": WEIGHT, "bias": BIAS}, pad=1024**2 + 1))


def test_weights_are_read_up_to_a_bound(tmp_path, monkeypatch):
    folder = write(tmp_path, {"weight": WEIGHT, "bias": BIAS})
    monkeypatch.setattr(weights, "_MOST_BYTES", 36)
    load_module(layer, folder)
    monkeypatch.setattr(weights, "_MOST_BYTES", 35)
    with pytest.raises(UserError, match="it holds 36 bytes of weights, 35 are the most"):
        load_module(layer, folder)


def test_more_than_two_gibibytes_are_refused_before_they_are_read(tmp_path):
    """The file is sparse: nothing of that size is ever written or read."""
    size = 2 * 1024**3 + 1

    class Huge(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("x", torch.zeros(size, dtype=torch.int8))

    write(tmp_path, {}, header={"x": {"dtype": "I8", "shape": [size], "data_offsets": [0, size]}})
    file = tmp_path / "policy.safetensors"
    os.truncate(file, file.stat().st_size + size)
    with pytest.raises(UserError, match="it holds 2,147,483,649 bytes of weights, 2,147,483,648 are the most"):
        load_module(Huge, tmp_path)


def test_a_file_that_changes_between_its_header_and_its_weights_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path, {"weight": WEIGHT, "bias": BIAS}, pad=200_000)
    compare = weights._compare

    def swap(found, expected):
        compare(found, expected)
        file = folder / "policy.safetensors"
        with file.open("r+b") as other:
            other.seek(100_000)
            other.write(b"x")

    monkeypatch.setattr(weights, "_compare", swap)
    with pytest.raises(UserError, match="it changes while it is read"):
        load_module(layer, Path(folder))


def test_what_cannot_be_made_is_the_descriptions_damage(tmp_path):
    def fail():
        raise ValueError("no such layer")

    with pytest.raises(UserError, match=r"policy\.json is damaged \(no such layer\)"):
        load_module(fail, write(tmp_path, {"weight": WEIGHT, "bias": BIAS}))
    with pytest.raises(UserError, match=r"policy\.safetensors is damaged \(No such file"):
        load_module(layer, tmp_path / "nowhere")
