from types import SimpleNamespace

import pytest
import torch

from synrl_ray.algorithms.descent import first_not_finite

NAN, INF = float("nan"), float("inf")
BATCH = {"obs": torch.zeros(2, 3), "actions": torch.zeros(2, dtype=torch.long), "advantages": torch.zeros(2)}
OUTPUTS = {"action_dist_inputs": torch.zeros(2, 2), "embeddings": torch.zeros(2)}


def named(batch, outputs):
    return first_not_finite({"batch": {**BATCH, **batch}, "network output": {**OUTPUTS, **outputs}})


@pytest.mark.parametrize(
    ("batch", "outputs", "name"),
    [
        ({"advantages": torch.tensor([0.0, NAN])}, {}, "batch 'advantages'"),
        ({"advantages": torch.tensor([0.0, INF])}, {"embeddings": torch.tensor([NAN])}, "batch 'advantages'"),
        ({}, {"embeddings": torch.tensor([-INF])}, "network output 'embeddings'"),
        ({"obs": torch.tensor([NAN]), "advantages": torch.tensor([NAN])}, {}, "batch 'obs'"),
        ({}, {}, None),
    ],
)
def test_first_tensor_that_is_not_finite_is_named_inputs_before_outputs(batch, outputs, name):
    assert named(batch, outputs) == name


def test_what_is_no_floating_tensor_is_passed_over():
    assert named({"nested": {"state": torch.tensor([NAN])}, "text": "nan", "other": SimpleNamespace()}, {}) is None
