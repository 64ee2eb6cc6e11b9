"""What a GPU gives: engine, learner and end-to-end rates, against snnTorch and SpikingJelly. One command, ten minutes.

Run (``make bench-gpu``):
    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --seconds 0.1 --minutes 1   # to see that it runs

1. The scan's kernels against the reference, in torch operations, on the GPU: the largest relative difference.
2. Engine: milliseconds of a training step (forward, squared loss, backward) of the networks of ``benchmarks/snn.py``,
   checked to compute the same. SpikingJelly is in its multi-step mode, on torch and, where it is installed, CuPy.
3. Learner and end to end: environment steps per second of the learner alone and of the whole iteration. The same
   algorithm trains our network, and on CartPole the same network made of the others' neurons. Environments are on the
   CPU: where they dominate, a GPU gives little.

What there is no more time for is left out and said so.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import snn as engine
import torch

from synrl_ray.snn import lif_scan
from synrl_ray.snn.surrogate import Surrogate

NETS = [
    ("4-64-64-2", 16, 256), ("4-64-64-2", 64, 4096), ("784-256-10", 16, 256), ("784-256-10", 64, 1024),
    ("conv", 4, 256), ("conv", 16, 256),
]  # fmt: skip
PEERS = ("snntorch", "spikingjelly")
OURS: dict[str, Any] = {
    "spiking.hidden_sizes": (64, 64),
    "spiking.carry_state": True,
    "num_epochs": 1,
    "train_batch_size": 1024,
}
TRAININGS: list[tuple[str, str, bool, dict[str, Any]]] = [  # experiment, whose network, on the GPU, settings
    ("cartpole-ppo", "ours", False, OURS),
    ("cartpole-ppo", "ours", True, OURS),
    ("cartpole-ppo", "snntorch", True, {**OURS, "spiking.network": "own_networks:TwoLayers"}),
    ("cartpole-ppo", "spikingjelly", True, {**OURS, "spiking.network": "own_networks:TwoJellyLayers"}),
    ("breakout-a2c", "ours", False, {}),
    ("breakout-a2c", "ours", True, {}),
    ("breakout-a2c", "ours, bfloat16", True, {"algorithm.precision": "bfloat16"}),
    ("car-racing-ppo", "ours", False, {}),
    ("car-racing-ppo", "ours", True, {}),
    ("car-racing-ppo", "ours, bfloat16", True, {"algorithm.precision": "bfloat16"}),
]


class Clock:
    """How much time is left, and what a call takes on a device."""

    def __init__(self, device: torch.device, seconds: float, minutes: float) -> None:
        self.device, self.seconds = device, seconds
        self.end = time.monotonic() + 60 * minutes

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end

    def milliseconds(self, call: Callable[[], object]) -> float:
        """The median over blocks, each waited for."""
        for _ in range(5):
            call()
        blocks, began = [], time.perf_counter()
        while time.perf_counter() - began < self.seconds or len(blocks) < 3:
            self._wait()
            start = time.perf_counter()
            for _ in range(10):
                call()
            self._wait()
            blocks.append((time.perf_counter() - start) * 100)
        return statistics.median(blocks)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def check_scan(device: torch.device) -> None:
    """Print the largest relative difference of values and gradients of the kernels from the reference."""
    g = torch.Generator().manual_seed(0)
    tensors = [torch.randn(16, 64, 256, generator=g), torch.randn(64, 256, generator=g), torch.rand(256, generator=g)]
    weights, worst = torch.randn(2, 64, 64, 256, generator=g).to(device), 0.0
    mask = (torch.rand(16, 64, generator=g) < 0.1).to(device)
    for reset in ("subtract", "zero", "none"):
        found = []
        for kernel in ("auto", "torch"):
            own = [t.to(device).requires_grad_() for t in (*tensors, torch.ones(256))]
            options = {"surrogate": Surrogate("atan"), "reset": reset, "reset_mask": mask, "hold": 4}
            results = lif_scan(*own[:2], beta=own[2], threshold=own[3], kernel=kernel, **options)
            loss = sum((w * r).sum() for w, r in zip(weights, results, strict=True))
            found.append((*results, *torch.autograd.grad(loss, own)))
        for a, b in zip(*found, strict=True):
            worst = max(worst, ((a - b).abs().max() / b.abs().max().clamp(min=1)).item())
    print(f"The scan differs from the reference by at most {worst:.1e} of the largest value.\n", flush=True)


def engine_row(name: str, num_steps: int, batch: int, peer: str, clock: Clock) -> str:
    """A training step of ours and of theirs; they must compute the same."""
    _, make_forward, settings = engine.CONTENDERS[peer]
    with clock.device:
        net, layers, shapes, in_shape = engine.build(name, num_steps, settings)
        theirs = make_forward(layers, shapes, num_steps)
        observations = torch.rand(1, batch, *in_shape)
    difference = (net(observations)[0][0] - theirs(observations[0])).abs().max().item()
    ours = engine.training_step([net], lambda x: net(x)[0], observations)
    own, other = (clock.milliseconds(s) for s in (ours, engine.training_step(layers, theirs, observations[0])))
    same = "" if difference < 1e-4 else f"; outputs differ by {difference:.1e}"
    return f"| {name} | {num_steps} | {batch:,} | {peer} | {own:.3f} | {other:.3f} | {other / own:.1f}{same} |"


def training_row(name: str, whose: str, on_gpu: bool, settings: dict[str, Any], clock: Clock) -> str:
    """Rates of some iterations, after the first."""
    from synrl_ray.algorithms.build import algorithm_config
    from synrl_ray.api.specs import make_experiment

    config = algorithm_config(make_experiment(name, settings), "spiking", seed=0, num_workers=0)
    algorithm = config.learners(num_gpus_per_learner=int(on_gpu and clock.device.type == "cuda")).build_algo()
    try:
        steps = before = algorithm.train()["num_env_steps_sampled_lifetime"]
        learning, began = 0.0, time.perf_counter()
        while time.perf_counter() - began < 15 * clock.seconds or steps == before:
            result = algorithm.train()
            steps, learning = result["num_env_steps_sampled_lifetime"], learning + result["seconds"]["learner"]
        rate = (steps - before) / (time.perf_counter() - began)
    finally:
        algorithm.stop()
    where = "GPU" if config.num_gpus_per_learner else "CPU"
    return f"| {name} | {whose} | {where} | {(steps - before) / learning:,.0f} | {rate:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of each cell of the engine; of trainings 15 times it"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no row is begun")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here: --device cpu shows that the script runs")
    torch.set_num_threads(1)
    device = torch.device(args.device)
    clock = Clock(device, args.seconds, args.minutes)
    named = torch.cuda.get_device_name() if args.device == "cuda" else "the CPU"
    print(f"{named}, torch {torch.__version__}\n")
    check_scan(device)
    print("| network | T | B | against | ours, ms | theirs, ms | ratio |\n|---|---|---|---|---|---|---|")
    for name, num_steps, large in NETS:
        batch = large if args.device == "cuda" else 8
        for peer in PEERS:
            if importlib.util.find_spec(peer) is None or (name == "conv" and peer != "snntorch"):
                continue
            row = f"| {name} | {num_steps} | {batch:,} | {peer} | no time left |"
            print(row if clock.is_over else engine_row(name, num_steps, batch, peer, clock), flush=True)
    print("\n| experiment | network | learner | learner alone, steps/s | end to end, steps/s |\n|---|---|---|---|---|")
    from synrl_ray.running.own_ray import own_ray

    with own_ray(num_cpus=2):
        for name, whose, on_gpu, settings in TRAININGS:
            if whose in PEERS and importlib.util.find_spec(whose) is None:
                continue
            row = f"| {name} | {whose} | no time left |"
            print(row if clock.is_over else training_row(name, whose, on_gpu, settings, clock), flush=True)


if __name__ == "__main__":
    main()
