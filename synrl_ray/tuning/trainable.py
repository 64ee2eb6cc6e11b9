"""A trial: the project's own training loop in a run folder, driven by Tune from evaluation to evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from synrl_ray.files import write_atomically
from synrl_ray.running.checkpoints import Checkpoint, Checkpoints
from synrl_ray.running.kind import Trainer
from synrl_ray.running.lock import require_no_links
from synrl_ray.running.progress import ignore
from synrl_ray.running.run_folder import CONFIG, RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import TrainingRun
from synrl_ray.running.trust import only_own
from synrl_ray.tuning.score import WORST, score_of
from synrl_ray.tuning.study import Study

INDEX = "trial"
"""Of the trial's number in Tune's configuration, beside its settings."""


class TrialTrainable(Trainable):
    """Trains one trial of a study; a step goes on until the next evaluation.

    The configuration holds searched settings by their paths. Every step reports ``score``, its ``score_name``, the
    ``steps`` trained, the ``progress`` in percent and whether the run has ``ended``. The run folder is ``trials/NNNN``
    of the study, and a trial whose folder has a checkpoint goes on from it: that is how a study is resumed. It is
    locked, like any run's, while something is done in it and not in between: Tune moves a trial to another actor
    without a word to the one that had it, which stays for the next trial.

    Raises:
        UserError: for settings that do not fit, a damaged checkpoint, or what the training reports, such as NaN.
    """

    training: TrainingRun | None = None
    spec: RunSpec
    folder: RunFolder

    def setup(self, config: dict[str, Any], *, study: dict[str, Any], folder: str, trust: bool) -> None:
        """Keep what belongs to the study; Tune calls this."""
        self.study, self.runs, self.trust = Study.from_json(study), Path(folder) / "trials", trust
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial, or this one with other settings, without a new process."""
        self.cleanup()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until the next evaluation."""
        with self._held(), self.folder.writable():
            run = self.training = self.training or self._begin()
            found = None
            while found is None and not run.ended:
                found = score_of(self.study.kind, run.iterate())
            if run.ended:
                run.save()
                found = found or score_of(self.study.kind, run.trainer.evaluate())  # ended between two evaluations
        score, name = found or (WORST, "")
        return {
            "score": score,
            "score_name": name,
            "unit": self.study.kind.unit.column,
            "steps": run.position.steps,
            "total": run.trainer.total,
            "progress": min(100.0, 100 * run.position.steps / run.trainer.total),
            "ended": run.ended,
            "done": run.ended,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copy the run's checkpoint, which the last evaluation has left, under its seal, and its metrics."""
        found = self.folder.checkpoint()
        if found is None:
            return
        shutil.copytree(found.folder, Path(checkpoint_dir) / "checkpoint", symlinks=True)
        (Path(checkpoint_dir) / "metrics.json").write_text(json.dumps(self.folder.metrics()))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from such a copy, of this trial or of a better one, with the settings that this trial has."""
        self.cleanup()
        source = Path(str(checkpoint))
        with Checkpoints(source).opened(only_own=only_own(self.study.kind, self.trust)) as found:
            if found is None:
                return
            rows = json.loads((source / "metrics.json").read_text())
            with self._held():
                write_atomically(self.folder.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
                state = found.state  # a private copy: what is sealed anew is what was verified
                self.folder.save_checkpoint(lambda target: _copy(state, target), found.position, own=found.is_own)

    def cleanup(self) -> None:
        """Release actors and files."""
        training, self.training = self.training, None
        if training is not None:
            training.close()

    def _take(self, config: dict[str, Any]) -> None:
        self.spec = self.study.trial({path: value for path, value in config.items() if path != INDEX})
        self.folder = RunFolder(self.runs / self.trial_name)

    def _begin(self) -> TrainingRun:
        """Start the run, or go on from its checkpoint."""
        return _Continued(self.folder, self.spec, self.study.kind, ignore, trust=self.trust)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Lock the trial's folder for the block; the settings in it may be an older session's."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        require_no_links(self.runs, "the trials' folder")
        if not (self.folder.path / CONFIG).exists():
            self._write_spec()
        with self.folder.locked():
            if self.training is None:
                self._write_spec()
            yield

    def _write_spec(self) -> None:
        self.folder.write_spec(self.spec, self.study.kind.modules([self.spec.experiment]))


class _Continued(TrainingRun):
    """A run whose settings may have changed since its checkpoint was written, and whose evaluations are waited for."""

    judges_in_parallel = False

    def _restore(self, found: Checkpoint) -> None:
        with own_settings(self.trainer):
            super()._restore(found)


@contextmanager
def own_settings(trainer: Trainer) -> Iterator[None]:
    """Let optimizers keep the settings that the trainer was made with, where the block restores a checkpoint.

    Torch keeps learning rates and the like in an optimizer's state, so that those of the checkpoint would come back.
    What a schedule of torch's own has made of the learning rate since the start is kept as a factor; RLlib's
    schedules set it before every update. All other settings are read from the trainer's configuration when needed.
    """
    optimizers = trainer.optimizers()
    before = [[dict(group) for group in optimizer.param_groups] for optimizer in optimizers]
    yield
    for optimizer, groups in zip(optimizers, before, strict=True):
        for group, own in zip(optimizer.param_groups, groups, strict=True):
            factor = group["lr"] / group["initial_lr"] if group.get("initial_lr") else 1.0
            group.update({name: value for name, value in own.items() if name != "params"})
            group["lr"] *= factor


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
