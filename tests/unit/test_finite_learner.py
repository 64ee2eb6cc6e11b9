from types import SimpleNamespace

import pytest
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner

from synrl_ray.algorithms.learner import FinitePPOLearner
from synrl_ray.errors import NonFiniteError

NAN, INF = float("nan"), float("inf")


def compute(monkeypatch, loss, batch, outputs):
    """The learner's check on a loss that RLlib's learner is made to return."""
    seen = {}

    def fake(self, **arguments):
        seen.update(arguments)
        return torch.tensor(loss)

    monkeypatch.setattr(PPOTorchLearner, "compute_loss_for_module", fake)
    learner = FinitePPOLearner.__new__(FinitePPOLearner)
    arguments = {"module_id": "m", "config": SimpleNamespace(), "batch": batch, "fwd_out": outputs}
    result = learner.compute_loss_for_module(**arguments)
    assert seen == arguments
    return result


BATCH = {"obs": torch.zeros(2, 3), "actions": torch.zeros(2, dtype=torch.long), "advantages": torch.zeros(2)}
OUTPUTS = {"action_dist_inputs": torch.zeros(2, 2), "embeddings": torch.zeros(2)}


def test_finite_loss_passes_unchanged(monkeypatch):
    assert float(compute(monkeypatch, 1.5, BATCH, OUTPUTS)) == 1.5


def test_finite_loss_passes_even_where_a_masked_tensor_is_not_finite(monkeypatch):
    assert float(compute(monkeypatch, 1.5, {**BATCH, "advantages": torch.tensor([0.0, NAN])}, OUTPUTS)) == 1.5


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("batch", "outputs", "name"),
    [
        ({"advantages": torch.tensor([0.0, NAN])}, {}, "batch 'advantages'"),
        ({"advantages": torch.tensor([0.0, INF])}, {"embeddings": torch.tensor([NAN])}, "batch 'advantages'"),
        ({}, {"embeddings": torch.tensor([-INF])}, "network output 'embeddings'"),
        ({"obs": torch.tensor([NAN]), "advantages": torch.tensor([NAN])}, {}, "batch 'obs'"),
        ({}, {}, "the total loss"),
    ],
)
def test_loss_that_is_not_finite_names_the_first_tensor_inputs_before_outputs(monkeypatch, loss, batch, outputs, name):
    with pytest.raises(NonFiniteError) as caught:
        compute(monkeypatch, loss, {**BATCH, **batch}, {**OUTPUTS, **outputs})
    assert caught.value.tensor == name
    assert caught.value.message == f"{name} is not finite (module 'm')"
