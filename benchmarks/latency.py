"""How long one decision of each committed policy takes, on one thread: the spiking policy beside its non-spiking twin.

Run (``make bench-latency``; ONNX Runtime comes with ``uv pip install -c requirements.txt -e '.[peers]'``):
    python benchmarks/latency.py
    python benchmarks/latency.py --only cartpole-ppo breakout-a2c
    python benchmarks/latency.py --table experiments/results/tables/latency.json   # kept there, too

``act`` is the whole decision, as a robot or a server asks for it: a numpy observation and state in, an action and the
next state out, looked at for NaN. ``network`` is the actor's network alone, on features that are tensors already: what
is left of ``act`` where checks, normaliser, stack of frames and code of observations cost nothing. The twin's is also
run as plain torch modules and by ONNX Runtime (where it is installed), whose outputs must equal ours to 1e-4 first.

Observations are those of an episode that the spiking policy plays, and each contender carries its own state through
them. One pass through them is a block; blocks alternate between the contenders, each decision is timed on its own, and
of every block's median and 99th percentile the medians over blocks are reported, so that a busy machine slows all.
Decisions follow one another without a pause: caches are warm. Where other work shares the cores, ``--clock cpu`` counts
the time that this thread computed in place of that which passed, else the 99th percentile is how long others took; the
clock itself then adds half a microsecond to each decision.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import numpy as np
import torch
from ablation import show
from snn import keep_freed_memory
from torch import Tensor, nn

from synrl_ray import load_policy
from synrl_ray.kinds import kind_of_policy
from synrl_ray.kinds.acting import environment_of, factory_of
from synrl_ray.policies.description import DESCRIPTION_FILE, read_description
from synrl_ray.snn import CNN, MLP

RESULTS = Path(__file__).parents[1] / "experiments" / "results"
DECISIONS = 100  # of a block
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
Decide = Callable[[], object]
Block = Callable[[], Iterator[Decide]]


def committed() -> list[str]:
    """Experiments of which a spiking policy and its twin are there, both networks that gradients have trained."""
    folders = sorted(file.parents[1] for file in RESULTS.glob(f"*/ann/{DESCRIPTION_FILE}"))
    both = [folder for folder in folders if (folder / "spiking" / DESCRIPTION_FILE).exists()]
    return [folder.name for folder in both if kind_of_policy(read_description(folder / "ann")).name == "control"]


def recorded(policy: Any, folder: Path) -> list[np.ndarray]:
    """The first observations that the policy meets, in as many episodes as it takes."""
    env = factory_of(environment_of(read_description(folder)))()
    seen: list[np.ndarray] = []
    done, seed = True, 0
    while len(seen) < DECISIONS:
        if done:
            (observation, _), state = env.reset(seed=seed), None
            seed += 1
        seen.append(np.array(observation))
        action, state = policy.act(observation, state)
        observation, _, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
    env.close()
    return seen


def acting(policy: Any, observations: list[np.ndarray]) -> Iterator[Decide]:
    """One decision after another by ``act``."""
    state = policy.initial_state()

    def decide(observation: np.ndarray) -> None:
        nonlocal state
        _, state = policy.act(observation, state)

    return (partial(decide, observation) for observation in observations)


def calls(function: Callable[..., object], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Decide]:
    """The function on each of these."""
    return (partial(function, *each) for each in arguments)


def received(policy: Any, observations: list[np.ndarray]) -> list[tuple[Tensor, Tensor | None]]:
    """What the actor's network receives for each of them, and its state before."""
    state, found = policy.initial_state(1), []
    for observation in observations:
        with torch.no_grad():
            found.append(policy.network.actor_inputs(torch.from_numpy(observation[None]), torch.from_numpy(state)))
        _, state = policy.act(observation[None], state)
    return found


def plain(body: nn.Module) -> nn.Sequential:
    """The twin's network in torch's own modules."""
    if isinstance(body, CNN):
        hidden = [module for layer in body.convolutions for module in (layer, nn.ReLU())]
        return nn.Sequential(*hidden, nn.Flatten(), body.linear, nn.ReLU(), body.readout)
    assert isinstance(body, MLP)
    activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[body.activation]
    *hidden, last = body.linears
    return nn.Sequential(*(module for layer in hidden for module in (layer, activation())), last)


def onnx_session(network: nn.Module, example: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The network in ONNX Runtime, on one thread."""
    import onnxruntime

    file = io.BytesIO()
    with warnings.catch_warnings():  # torch's newer exporter needs one more package, and says so
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (example,), file, input_names=["inputs"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {"inputs": inputs})[0]


def contenders(spiking: Any, ann: Any, observations: list[np.ndarray]) -> dict[str, Block]:
    """What is timed, by its name."""
    found: dict[str, Block] = {}
    for name, policy in (("spiking", spiking), ("ann", ann)):
        seen = received(policy, observations)
        found |= {f"{name} act": partial(acting, policy, observations)}
        found |= {f"{name} network": partial(calls, policy.network.bodies[0], seen)}
    alone = [(features[0],) for features, _ in seen]
    network = plain(ann.network.bodies[0])
    with torch.no_grad():
        expected = ann.network.bodies[0](seen[-1][0])[0][0]
        outputs = {"torch": network(*alone[-1])}
        found["torch"] = partial(calls, network, alone)
        if importlib.util.find_spec("onnxruntime"):
            run = onnx_session(network, *alone[-1])
            outputs["onnx"] = torch.from_numpy(run(alone[-1][0].numpy()))
            found["onnx"] = partial(calls, run, [(features.numpy(),) for (features,) in alone])
    for name, output in outputs.items():
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-4, msg=f"{name} computes something else")
    return found


def percentiles(blocks: dict[str, Block], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Median and 99th percentile in microseconds of each contender's decisions, as medians over blocks."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in blocks}
    for _ in range(rounds):
        for name, block in blocks.items():
            spent = []
            with torch.no_grad():
                for decide in block():
                    start = clock()
                    decide()
                    spent.append(clock() - start)
            found[name].append(np.percentile(spent[1:], (50, 99)) * 1e6)  # the first finds another one's caches
    return {name: np.median(each, axis=0).round(1).tolist() for name, each in found.items()}


def row(name: str, rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    folder = RESULTS / name
    spiking, ann = load_policy(folder / "spiking"), load_policy(folder / "ann")
    observations = recorded(spiking, folder / "spiking")
    blocks = contenders(spiking, ann, observations)
    percentiles(blocks, 1, clock)  # compiles kernels
    cells: dict[str, Any] = {"condition": name}
    for contender, (middle, high) in percentiles(blocks, rounds, clock).items():
        cells |= {contender: middle, f"{contender} p99": high}
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=committed(), help="some experiments; all by default")
    parser.add_argument("--rounds", type=int, default=30, help="blocks of each contender")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--table", type=Path, help="also write the table there, as JSON that `make tables` reads")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = [row(name, args.rounds, CLOCKS[args.clock]) for name in args.only or committed()]
    show("One decision, microseconds", table, args.table, note=f"medians over blocks; one thread, {args.clock} time")


if __name__ == "__main__":
    main()
