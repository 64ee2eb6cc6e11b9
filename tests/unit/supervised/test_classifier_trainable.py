import numpy as np
import pytest
import torch

from synrl_ray.errors import NonFiniteError
from synrl_ray.supervised import trainable as trainable_module


def weights(trainable):
    return torch.cat([tensor.flatten() for tensor in trainable.model.state_dict().values()])


def figures(trainable):
    row = trainable.step()
    return {name: row[name] for name in ("samples", "loss", "train_accuracy", "validation_accuracy")}


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_loss_falls_and_accuracy_rises_over_epochs(make_trainable, policy):
    trainable = make_trainable(policy=policy)
    first, *_, last = [figures(trainable) for _ in range(3)]
    assert last["loss"] < 0.5 * first["loss"]
    assert last["train_accuracy"] > 0.95
    assert (trainable.predict(trainable.test_set) == trainable.test_set.labels).mean() > 0.95


def test_one_epoch_lowers_the_loss(make_trainable):
    trainable = make_trainable()
    images, labels = trainable.training_set.images, trainable.training_set.labels

    def loss():
        with torch.no_grad():
            logits = trainable.model(torch.from_numpy(images))
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()

    before = loss()
    trainable.step()
    assert loss() < 0.8 * before


def test_epoch_is_all_whole_batches_of_what_is_not_held_out(make_trainable):
    trainable = make_trainable()
    assert (len(trainable.training_set), len(trainable.validation_set)) == (95, 5)
    assert trainable.samples_per_epoch == 5 * 16
    assert [figures(trainable)["samples"] for _ in range(2)] == [80, 160]


def test_validation_images_are_the_last_ones_and_never_trained_on(make_trainable):
    trainable = make_trainable()
    trainable.validation_set.images[:] = 255
    assert not (trainable.training_set.images == 255).all(axis=(1, 2)).any()
    assert trainable.validation_set.labels.tolist() == [1, 0, 1, 0, 1]  # of 100 that alternate, the last five


def test_batch_that_is_larger_than_the_set_is_the_set(make_trainable):
    trainable = make_trainable("batch_size=500", "epochs=2", "lr=1e-12")  # the weights stay
    rows = [figures(trainable) for _ in range(2)]
    assert (trainable.samples_per_epoch, [row["samples"] for row in rows]) == (95, [95, 190])
    is_right = trainable.predict(trainable.training_set) == trainable.training_set.labels
    assert rows[-1]["train_accuracy"] == pytest.approx(is_right.mean())


def test_learning_rate_falls_to_zero_at_the_last_step(make_trainable):
    trainable = make_trainable("epochs=2", "lr=0.01")
    assert trainable.schedule.get_last_lr() == [0.01]
    trainable.step()
    assert trainable.schedule.get_last_lr() == pytest.approx([0.005])  # a cosine's half way
    trainable.step()
    assert trainable.schedule.get_last_lr() == pytest.approx([0.0])


def test_same_seed_gives_the_same_weights_and_another_seed_others(make_trainable):
    first, same, other = (make_trainable("max_shift=2", seed=seed) for seed in (7, 7, 8))
    assert figures(first) == figures(same)
    assert torch.equal(weights(first), weights(same))
    other.step()
    assert not torch.equal(weights(first), weights(other))


def test_training_does_not_depend_on_the_global_generator(make_trainable):
    first, second, without = (make_trainable(f"spiking.dropout={share}") for share in (0.3, 0.3, 0.0))
    first.step()
    torch.manual_seed(12345)
    second.step()
    without.step()
    assert not torch.equal(weights(first), weights(without))
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize(("policy", "dropout"), [("spiking", ()), ("spiking", ("spiking.dropout=0.3",)), ("ann", ())])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(make_trainable, tmp_path, policy, dropout):
    settings = ("max_shift=2", "weight_decay=0.01", *dropout)
    whole, first = (make_trainable(*settings, policy=policy) for _ in range(2))
    expected = [figures(whole) for _ in range(3)]
    assert figures(first) == expected[0]
    (tmp_path / "checkpoint").mkdir()
    first.save_checkpoint(str(tmp_path / "checkpoint"))
    second = make_trainable(*settings, policy=policy, seed=99)
    second.load_checkpoint(tmp_path / "checkpoint")
    assert [figures(second) for _ in range(2)] == expected[1:]
    assert torch.equal(weights(second), weights(whole))


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_a_penalty_on_rates_is_part_of_the_loss_and_lowers_them(make_trainable, architecture):
    def trained(*settings):
        layers = (f"spiking.architecture={architecture}", "spiking.channels=2,3", "spiking.threshold=0.2")
        trainable = make_trainable(*layers, "rate_target=0.01", *settings)
        return figures(trainable)["loss"], trainable.model.with_rates(trainable.test_set.images)[1].mean().item()

    (plain, high), (loss, low) = trained("lr=0.02"), trained("lr=0.02", "rate_penalty=100")
    assert loss > plain + 0.1
    assert low < 0.8 * high


def test_the_penalty_is_that_of_each_image_by_its_weight(make_trainable):
    trainable = make_trainable("rate_penalty=5", "rate_target=0.02", "spiking.threshold=0.2")
    images = torch.from_numpy(trainable.test_set.images)
    logits, penalty = trainable._pass(images)
    torch.testing.assert_close(logits, trainable.model(images))
    rates = torch.stack([layer.mean((0, 2)) for layer in trainable.model.activity(images)[0]], dim=1)
    torch.testing.assert_close(penalty, 5 * (rates - 0.02).clamp(min=0).square().mean(1).mean())
    assert penalty > 0


def test_twins_pay_nothing_for_spikes(make_trainable):
    plain, penalised = (make_trainable(f"rate_penalty={weight}", policy="ann") for weight in (0, 100))
    assert figures(plain) == figures(penalised)


def test_checkpoint_is_read_without_executing_anything(make_trainable, tmp_path):
    make_trainable().save_checkpoint(str(tmp_path))
    (file,) = [path for path in tmp_path.iterdir() if path.is_file()]
    assert torch.load(file, weights_only=True)["samples"] == 0


def test_loss_that_is_not_a_number_stops_training_before_a_weight_changes(make_trainable):
    trainable = make_trainable()
    trainable.step()
    with torch.no_grad():
        trainable.model.network.readout.linear.bias[0] = float("nan")
    before = weights(trainable).nan_to_num()
    with pytest.raises(NonFiniteError, match=r"^the loss is not finite \(after 80 samples\) — "):
        trainable.step()
    assert torch.equal(weights(trainable).nan_to_num(), before)


def test_weights_that_are_not_numbers_do_not_pass_as_a_trained_classifier(make_trainable):
    """The last batch of an epoch can ruin the weights; nothing computes a loss with them afterwards."""
    trainable = make_trainable("batch_size=95", "epochs=1", "lr=1e37", policy="ann")
    trainable.optimizer.register_step_post_hook(
        lambda *_: trainable.model.network.linears[-1].bias.data.fill_(float("nan"))
    )
    with pytest.raises(NonFiniteError):
        trainable.step()


def test_prediction_is_the_largest_logit_whatever_the_size_of_the_set(make_trainable, monkeypatch):
    trainable = make_trainable()
    with torch.no_grad():
        expected = trainable.model(torch.from_numpy(trainable.test_set.images)).argmax(1).tolist()
    for size in (500, 20, 7, 1):
        monkeypatch.setattr(trainable_module, "_EVALUATION_BATCH", size)
        assert trainable.predict(trainable.test_set).tolist() == expected


def test_without_augmentation_images_stay_as_they_are(make_trainable):
    images = torch.from_numpy(make_trainable().test_set.images)
    assert torch.equal(make_trainable()._shift(images, 0), images)


@pytest.mark.parametrize("most", [1, 2])
def test_shift_moves_every_pixel_of_the_batch_alike_by_each_distance_up_to_the_most(make_trainable, most):
    trainable = make_trainable()
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    images[0, 14, 10], images[2, 5, 20] = 200, 50
    moves = set()
    for _ in range(300):
        shifted = trainable._shift(images, most)
        assert (shifted.shape, shifted.dtype) == (images.shape, torch.uint8)
        (a, row_a, column_a), (b, row_b, column_b) = shifted.nonzero().tolist()
        assert (a, b, shifted[a, row_a, column_a], shifted[b, row_b, column_b]) == (0, 2, 200, 50)
        assert (row_a - 14, column_a - 10) == (row_b - 5, column_b - 20)
        moves.add((row_a - 14, column_a - 10))
    distances = range(-most, most + 1)
    assert moves == {(down, right) for down in distances for right in distances}


def test_what_is_shifted_over_the_edge_is_gone_and_the_ground_is_black(make_trainable):
    trainable = make_trainable()
    images = torch.full((1, 28, 28), 9, dtype=torch.uint8)
    counts = {int((trainable._shift(images, 1) == 9).sum()) for _ in range(100)}
    assert counts == {28 * 28, 27 * 28, 27 * 27}


def test_report_of_an_epoch_is_plain_numbers(make_trainable):
    row = figures(make_trainable())
    assert all(type(value) in (int, float) for value in row.values())
    assert all(np.isfinite(list(row.values())))
    assert 0 <= row["train_accuracy"] <= 1
