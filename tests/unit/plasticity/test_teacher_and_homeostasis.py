"""The teacher's fade, threshold adaptation."""

import pytest
import torch

from synrl_ray.plasticity.homeostasis import threshold_change
from synrl_ray.plasticity.teacher import teacher_current, teacher_strength
from synrl_ray.settings.plasticity import TeacherSignal, ThresholdAdaptation
from synrl_ray.snn import LIF


def test_the_teacher_fades_linearly():
    config = TeacherSignal(current=3.0, hold_steps=100, fade_steps=200)
    strengths = [teacher_strength(config, n) for n in (0, 100, 150, 200, 299, 300, 10_000)]
    assert strengths == pytest.approx([3.0, 3.0, 2.25, 1.5, 0.015, 0.0, 0.0])
    assert teacher_strength(TeacherSignal(current=2.0, fade_steps=0), 0) == 2.0
    assert teacher_strength(TeacherSignal(current=2.0, fade_steps=0), 1) == 0.0


def test_the_current_goes_to_the_target():
    config = TeacherSignal(current=2.0, fade_steps=100, inhibition=0.5)
    current = teacher_current(torch.tensor([[1, -1], [0, 2]]), 3, config, step=50)
    assert current.tolist() == [[[-0.5, 1.0, -0.5], [0.0, 0.0, 0.0]], [[1.0, -0.5, -0.5], [-0.5, -0.5, 1.0]]]
    assert teacher_current(torch.tensor([[1]]), 3, config, step=100).abs().sum() == 0


def test_a_taught_neuron_fires():
    current = teacher_current(torch.full((4, 1), 1), 3, TeacherSignal(current=1.5), step=0)
    spikes, _ = LIF(beta=0.9)(current)
    assert spikes.sum(dim=(0, 1)).tolist() == [0.0, 4.0, 0.0]


def test_thresholds_bring_neurons_to_their_rate():
    """Uniform input: a neuron of threshold h fires with probability 1 - h, so 0.1 asks for a threshold of 0.9."""
    config = ThresholdAdaptation(target_rate=0.1, lr=0.00125)
    threshold, g = torch.tensor([0.2, 0.5, 1.5]), torch.Generator().manual_seed(0)
    for _ in range(100):
        spikes = (torch.rand(20, 8, 3, generator=g) > threshold).float()
        threshold = threshold + threshold_change(spikes, config)
    assert threshold.tolist() == pytest.approx([0.9] * 3, abs=0.05)


def test_threshold_adaptation_is_the_same_in_pieces_of_time_and_of_environments():
    config = ThresholdAdaptation(target_rate=0.2, lr=0.01)
    spikes = (torch.rand(10, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    whole = threshold_change(spikes, config)
    assert (whole != 0).any()
    for axis in (0, 1):
        pieces = sum(threshold_change(piece, config) for piece in spikes.split(2, dim=axis))
        torch.testing.assert_close(whole, pieces, rtol=0, atol=1e-12)
    assert threshold_change(spikes[:, :0], config).tolist() == [0.0] * 4, "no environment, no change"


def test_bad_input():
    with pytest.raises(ValueError, match="step must be >= 0, got -1"):
        teacher_strength(TeacherSignal(), -1)
    with pytest.raises(ValueError, match="target 3 is none of the 3 neurons"):
        teacher_current(torch.tensor([[3]]), 3, TeacherSignal(), 0)
    with pytest.raises(ValueError, match="target -2 is none of the 3 neurons"):
        teacher_current(torch.tensor([[-2]]), 3, TeacherSignal(), 0)
    with pytest.raises(ValueError, match="targets must be neuron indices"):
        teacher_current(torch.tensor([[0.5]]), 3, TeacherSignal(), 0)
    with pytest.raises(ValueError, match=r"spikes must be \[T, B, N\], got \(4, 3\)"):
        threshold_change(torch.zeros(4, 3), ThresholdAdaptation())
