"""How many GPUs a run asks for, and whether they are there: said at once, where Ray would wait for them for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.running.kind import Kind
from synrl_ray.running.spec import RunSpec

_OPTION = "--gpus-per-learner"
_LEAST = 0.01


@dataclass(frozen=True)
class Gpus:
    """What a run asks for.

    Attributes:
        each: GPUs of a process that learns, a share of one or one.
        processes: how many of these there are beside the trainer's; with none, the trainer learns.
    """

    each: float = 0.0
    processes: int = 0

    @property
    def of_trainer(self) -> float:
        """What the trainer itself learns on."""
        return 0.0 if self.processes else self.each

    def bundles(self, num_processes: int) -> list[dict[str, float]]:
        """What Ray reserves for the trainer and each process beside it."""
        plain = {"CPU": 1.0}
        learning = {**plain, "GPU": self.each} if self.each else plain
        others = [learning] * self.processes + [plain] * (num_processes - self.processes)
        return [learning if self.of_trainer else plain, *others]

    def runs_on(self, number: int) -> int:
        """How many such runs so many GPUs bear; no process's share may lie on two of them."""
        return number * int(1 / self.each + 1e-9) // max(1, self.processes)

    @property
    def needed(self) -> int:
        """GPUs without which a run would wait for ever."""
        return -(-max(1, self.processes) // int(1 / self.each + 1e-9)) if self.each else 0


NO_GPUS = Gpus()


def gpus_of(spec: RunSpec, kind: Kind[Any]) -> Gpus:
    """What a run of that kind asks for.

    Raises:
        UserError: for a number that means nothing, or nothing for this run.
    """
    each = spec.gpus_per_learner
    if not each:
        return NO_GPUS
    if not _LEAST <= each <= 1:
        remedy = "a learner computes on one GPU, or shares one; --num-learners N takes more of them"
        raise UserError(f"{_OPTION} {each:g} is not between {_LEAST} and 1", remedy)
    processes = kind.learning_processes(spec)
    if processes is None:
        raise UserError(f"{_OPTION} means nothing for {spec.experiment.id}", "it has no gradients: leave it out")
    if spec.num_learners > 1 and each < 1:
        raise UserError(f"{spec.num_learners} learners cannot share a GPU", f"write {_OPTION} 1, or one learner")
    return Gpus(each, processes)


def require_cuda() -> int:
    """GPUs of this machine.

    Raises:
        UserError: if torch can use none.
    """
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        why = "torch finds no GPU" if built else "this torch is built for CPUs only"
        raise UserError(f"{_OPTION} needs CUDA, and {why}", "leave it out, or write --gpus-per-learner 0")
    return torch.cuda.device_count()


def require_gpus(needed: int, has: int, where: str) -> None:
    """Fail where Ray would wait for ever.

    Raises:
        UserError: if there are too few.
    """
    if has < needed:
        remedy = f"start the run with fewer learners, or a smaller {_OPTION}"
        raise UserError(f"{where} has {has} GPUs, and a run needs {needed}", remedy)
