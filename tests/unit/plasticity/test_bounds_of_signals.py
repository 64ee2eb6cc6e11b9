"""Teachers, modulators, merged changes and bounds of weights: by hand, and where each begins to be refused."""

import pytest
import torch

from synrl_ray.errors import NonFiniteError
from synrl_ray.plasticity.bounds import apply_delta, clamp_weights
from synrl_ray.plasticity.homeostasis import threshold_change
from synrl_ray.plasticity.merging import merge_deltas
from synrl_ray.plasticity.modulation import at_last_step, finite_or_zero, reward_prediction_error
from synrl_ray.plasticity.teacher import teacher_current, teacher_strength
from synrl_ray.settings.plasticity import RewardPrediction, TeacherSignal, ThresholdAdaptation, WeightBounds

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("hold", "fade", "strengths"),
    [
        (0, 0, {0: 2.0, 1: 0.0}),
        (3, 0, {3: 2.0, 4: 0.0}),
        (0, 4, {0: 2.0, 1: 1.5, 3: 0.5, 4: 0.0, 5: 0.0}),
        (2, 4, {2: 2.0, 3: 1.5, 5: 0.5, 6: 0.0, 100: 0.0}),
    ],
)
def test_a_teacher_is_full_then_fades_then_is_gone(hold, fade, strengths):
    config = TeacherSignal(current=2.0, hold_steps=hold, fade_steps=fade)
    assert {step: teacher_strength(config, step) for step in strengths} == strengths


def test_a_teacher_before_the_first_step_is_refused():
    with pytest.raises(ValueError, match="step must be >= 0, got -1"):
        teacher_strength(TeacherSignal(), -1)


def test_the_teacher_drives_its_neuron_and_inhibits_the_others():
    config = TeacherSignal(current=2.0, hold_steps=0, fade_steps=4, inhibition=0.5)
    current = teacher_current(torch.tensor([[0, -1, 2]]), 3, config, step=2)
    assert current.tolist() == [[[1.0, -0.5, -0.5], [0.0, 0.0, 0.0], [-0.5, -0.5, 1.0]]]
    assert current.dtype == torch.float32


@pytest.mark.parametrize(("target", "accepted"), [(-2, False), (-1, True), (2, True), (3, False), (7, False)])
def test_a_target_is_a_neuron_or_nobody(target, accepted):
    targets = torch.tensor([[0, target]])
    if accepted:
        assert teacher_current(targets, 3, TeacherSignal(), 0).shape == (1, 2, 3)
    else:
        with pytest.raises(ValueError, match=f"target {target} is none of the 3 neurons"):
            teacher_current(targets, 3, TeacherSignal(), 0)


@pytest.mark.parametrize("targets", [torch.zeros(1, 1), torch.zeros(0, 2, dtype=torch.int64)])
def test_targets_are_numbers_of_neurons(targets):
    with pytest.raises(ValueError, match="targets must be neuron indices"):
        teacher_current(targets, 3, TeacherSignal(), 0)


def test_the_error_is_taken_before_the_mean_moves():
    """rho = 0.5: 4 - 0, then 1 - 2, then a step that is none, then 1.5 - 1.5."""
    reward = torch.tensor([[4.0], [1.0], [100.0], [1.5]])
    valid = torch.tensor([[True], [True], [False], [True]])
    found = reward_prediction_error(reward, torch.zeros(1), RewardPrediction(rate=0.5), valid)
    assert found.error.flatten().tolist() == [4.0, -1.0, 0.0, 0.0]
    assert found.mean.tolist() == [1.5]
    assert found.num_skipped == 0


def test_rewards_that_are_not_finite_give_no_error_and_are_counted_where_a_step_was_one():
    reward = torch.tensor([[NAN, 2.0], [INF, NAN], [1.0, 1.0]])
    valid = torch.tensor([[True, True], [True, False], [True, True]])
    found = reward_prediction_error(reward, torch.tensor([1.0, 0.0]), RewardPrediction(rate=1.0), valid)
    assert found.error.tolist() == [[0.0, 2.0], [0.0, 0.0], [0.0, -1.0]]
    assert found.mean.tolist() == [1.0, 1.0]
    assert found.num_skipped == 2


@pytest.mark.parametrize(
    ("reward", "mean", "valid"),
    [((2,), (2,), None), ((2, 3), (2,), None), ((2, 3), (3,), (2, 2)), ((2, 3, 1), (3, 1), None)],
)
def test_rewards_means_and_masks_that_do_not_fit_are_refused(reward, mean, valid):
    mask = None if valid is None else torch.ones(valid, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"reward must be \[E, B\]"):
        reward_prediction_error(torch.zeros(reward), torch.zeros(mean), RewardPrediction(), mask)


def test_what_is_not_finite_becomes_zero_and_is_told_once(caplog):
    values = torch.tensor([[1.0, 2.0], [NAN, -INF]])
    cleaned, number = finite_or_zero(values, "reward")
    assert (cleaned.tolist(), number) == ([[1.0, 2.0], [0.0, 0.0]], 2)
    assert caplog.messages == ["reward is nan at step 1 in environment 0: 2 update(s) skipped"]
    same, number = finite_or_zero(values[:1], "reward")
    assert same is not cleaned
    assert (same.tolist(), number) == ([[1.0, 2.0]], 0)
    assert len(caplog.messages) == 1


def test_a_modulator_stands_at_the_last_of_its_simulation_steps():
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0]])
    assert at_last_step(values, 1).tolist() == values.tolist()
    assert at_last_step(values, 3).tolist() == [[0, 0], [0, 0], [1, 10], [0, 0], [0, 0], [2, 20]]
    with pytest.raises(ValueError, match="num_steps must be >= 1, got 0"):
        at_last_step(values, 0)


def test_merged_changes_by_hand():
    parts = [({"w": torch.tensor([1.0])}, 1), ({"w": torch.tensor([5.0])}, 3), ({"w": torch.tensor([2.0])}, 4)]
    assert merge_deltas(parts)["w"].tolist() == [8]
    assert merge_deltas(parts, "mean")["w"].tolist() == [(1 + 15 + 8) / 8]
    assert merge_deltas(parts[:1], "mean")["w"].tolist() == [1]
    nothing = [({"w": torch.tensor([1.0])}, 0), ({"w": torch.tensor([5.0])}, 0)]
    assert merge_deltas(nothing, "mean")["w"].tolist() == [0], "of no steps nothing was learned"
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_deltas([])
    with pytest.raises(ValueError, match="different weights"):
        merge_deltas([*parts, ({"v": torch.tensor([1.0])}, 1)])


def test_weights_stay_in_their_bounds():
    bounds = WeightBounds(w_min=-1.0, w_max=2.0)
    assert clamp_weights(torch.tensor([-3.0, -1.0, 0.5, 2.0, 3.0]), bounds).tolist() == [-1, -1, 0.5, 2, 2]
    weights, delta = torch.tensor([[0.0, 1.5]]), torch.tensor([[-2.0, 0.25]])
    assert apply_delta(weights, delta, bounds).tolist() == [[-1, 1.75]]
    assert weights.tolist() == [[0, 1.5]], "they are left alone"
    with pytest.raises(ValueError, match="differ in shape"):
        apply_delta(weights, delta.t(), bounds)
    for bad in (NAN, INF):
        with pytest.raises(NonFiniteError, match="delta"):
            apply_delta(weights, torch.tensor([[0.0, bad]]), bounds)


def test_thresholds_change_by_the_spikes_beyond_the_target():
    spikes = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]])
    change = threshold_change(spikes, ThresholdAdaptation(target_rate=0.5, lr=0.1))
    assert change.tolist() == pytest.approx([0.1 * (3 - 2), 0.1 * (1 - 2)])
    with pytest.raises(ValueError, match=r"spikes must be \[T, B, N\], got \(2, 2\)"):
        threshold_change(spikes[0], ThresholdAdaptation())
