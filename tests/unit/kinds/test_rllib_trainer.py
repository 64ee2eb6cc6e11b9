"""The end of a training that RLlib runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from synrl_ray.kinds.rllib_trainer import RLlibTrainer


class Trainer(RLlibTrainer):
    def policy(self) -> str:
        return "policy"


def test_a_close_that_is_interrupted_leaves_no_learners_to_be_stopped_when_they_are_collected(tmp_path: Path) -> None:
    """RLlib would start a Ray of its own for that, once the run's has ended."""

    def stop() -> None:
        raise KeyboardInterrupt

    group = SimpleNamespace(_is_shut_down=False)
    trainer = Trainer.__new__(Trainer)
    trainer.algorithm = SimpleNamespace(stop=stop, learner_group=group, logdir=str(tmp_path / "log"))
    (tmp_path / "log").mkdir()
    with pytest.raises(KeyboardInterrupt):
        trainer.close()
    assert group._is_shut_down
    assert trainer.trained == "policy"
    assert not (tmp_path / "log").exists()
