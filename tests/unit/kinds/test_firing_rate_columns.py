"""A row of metrics has the firing rates that an algorithm measured, and says what it has to tell."""

from types import SimpleNamespace

from synrl_ray.kinds.rllib_trainer import RLlibTrainer


def test_rates_are_columns_and_notices_are_passed_on():
    trainer = RLlibTrainer()
    result = {"env_runners": {"num_episodes": 3}, "num_env_steps_sampled_lifetime": 80}
    taken = [({"firing_rate_0": 0.25, "firing_rate_1": 0.0}, ("layer 1 hardly fires",)), ({}, ())]
    activity = SimpleNamespace(take=lambda: taken.pop(0))
    trainer.algorithm = SimpleNamespace(train=lambda: result, activity=activity)
    measured = trainer.train_once()
    assert (measured.row["firing_rate_0"], measured.row["firing_rate_1"]) == (0.25, 0.0)
    assert measured.notices == ("layer 1 hardly fires",)
    assert not any(name.startswith("firing_rate") for name in trainer.train_once().row)
    trainer.algorithm = SimpleNamespace(train=lambda: result)  # of local rules
    assert trainer.train_once().notices == ()
