"""What a training step costs at a given activity: ours on lists of spikes, other libraries, and dense products alone.

Run:
    python benchmarks/event_driven.py             # against snntorch
    python benchmarks/event_driven.py --peers     # and SpikingJelly, Norse and brainevent, where they are
    python benchmarks/event_driven.py --nets 2592-256 nature --activity 2 6
    python benchmarks/event_driven.py --table experiments/results/tables/event-driven.json
    python benchmarks/event_driven.py --meta      # what lists would save in meta-learning

One thread, milliseconds, medians of blocks that alternate. A first layer of few inputs makes the spikes, so that the
layer behind it meets the activity that is asked for: all weights are scaled until every layer fires at this rate.
Frames have no such layer, they go into the first convolution. ``ours`` has a triangle of half a width of 1/5 as its
surrogate gradient, ``near`` is the share of neurons inside it; ``wide`` has the other library's surrogate, whose
gradient reaches all neurons. ``products`` are the dense products of a training step alone, on signals that are there
already. Outputs of all equal ours to 1e-4 of the largest before the clock runs.

With ``--meta`` it is computing time, of the products that read spikes in meta-learning, dense (which they are) and as
sums over lists of all tasks' spikes, and of a whole meta-iteration; ``gain`` is the factor that lists would save of it.

Against brainevent (event-driven operators for JAX; ``--peers``) it is the product with a layer's weights alone, with
the lists still to be made: ``ours``, torch's (``products``), and theirs from booleans, compiled by XLA for one thread.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import importlib.util
import itertools
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation import show
from snn import BETA, CONTENDERS, alternate, inference, keep_freed_memory, products, training_step
from torch import nn

from synrl_ray.meta.families import family_of
from synrl_ray.meta.spiking_layers import SampleLIF
from synrl_ray.meta.trainable import MetaTrainable
from synrl_ray.registry import get_experiment
from synrl_ray.snn import SpikeLists, SpikingCNN, SpikingMLP, Surrogate
from synrl_ray.snn.calibration import scale_to_rate
from synrl_ray.snn.listed import lists_if_few
from synrl_ray.snn.products import LinearProduct, by_columns

COMPACT = Surrogate("triangle", 5.0)
FEW, STEPS = 16, 8
FULL = {"784-256": 1024, "2592-256": 1024, "2592-256 of 128 rows": 128, "256-256": 1024, "64-64": 1024}  # rows
MAPS = {"small": (1, 84, 84), "nature": (4, 84, 84)}  # shapes of frames
FRAMES, FRAME_STEPS = 32, 4
COLUMNS = (
    "condition", "net", "activity", "near", "against", "ours", "wide", "products", "theirs", "products/ours",
    "theirs/ours", "inference", "their inference", "theirs/ours, inference",
)  # fmt: skip


def build(
    name: str, settings: dict[str, Any]
) -> tuple[nn.Module, list[nn.Module], list[tuple[int, ...]], torch.Tensor]:
    """Our network, its layers with weights once more, the shapes of their inputs and membranes, and an input."""
    torch.manual_seed(0)
    if name in MAPS:
        net: Any = SpikingCNN(MAPS[name], 4, shape=name, steps_per_observation=FRAME_STEPS, beta=BETA, **settings)
        layers = [copy.deepcopy(layer) for layer in (*net.convolutions, net.linear, net.readout.linear)]
        layers[-2] = nn.Sequential(nn.Flatten(), layers[-2])
        shapes = [*net.map_shapes, (net.linear.out_features,), (4,)]
        return net, layers, shapes, torch.rand(1, FRAMES, *MAPS[name])
    before, behind = (int(n) for n in name.split()[0].split("-"))
    net = SpikingMLP(FEW, (before, behind), 10, steps_per_observation=STEPS, beta=BETA, **settings)
    layers = [copy.deepcopy(layer) for layer in (*net.linears, net.readout.linear)]
    return net, layers, [(FEW,), (before,), (behind,), (10,)], torch.randn(1, FULL[name] // STEPS, FEW)


def near_share(net: Any, inputs: torch.Tensor) -> float:
    """Of the neurons before a product whose inputs have a gradient, those within the surrogate's support."""
    found: list[torch.Tensor] = []

    def look(neuron: Any, given: Any, _: Any) -> None:
        found.append((neuron.scan(*given)[1] - neuron.threshold).abs().flatten() < COMPACT.support)

    handles = [neuron.register_forward_hook(look) for neuron in net.neurons[:-1]]
    with torch.no_grad():
        net(inputs)
    for handle in handles:
        handle.remove()
    return torch.cat(found).float().mean().item()


def brainevent_row(name: str, activity: float, seconds: float) -> dict[str, Any]:
    """The product of spikes and weights alone."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import brainevent
    import jax

    before, behind = (int(n) for n in name.split()[0].split("-"))
    torch.manual_seed(0)
    spikes = (torch.rand(FULL[name], before) < activity).float()
    layer = nn.Linear(before, behind, bias=False)
    by_columns(layer)
    weight, product = layer.weight.detach(), LinearProduct(before, behind)
    fired, matrix = jax.numpy.asarray(spikes.bool().numpy()), jax.numpy.asarray(weight.t().numpy())
    theirs = jax.jit(lambda fired, matrix: brainevent.BinaryArray(fired) @ matrix)
    expected, found = torch.mm(spikes, weight.t()).numpy(), np.asarray(theirs(fired, matrix))
    for result in (found, product.forward(SpikeLists.of(spikes), weight).numpy()):
        if not np.allclose(result, expected, rtol=0, atol=1e-4 * abs(expected).max()):
            raise SystemExit(f"brainevent computes something else for {name}")
    ours_ms, dense_ms, theirs_ms = alternate(
        [
            lambda: product.forward(SpikeLists.of(spikes), weight),
            partial(torch.mm, spikes, weight.t(), out=torch.empty(len(spikes), behind)),
            lambda: theirs(fired, matrix).block_until_ready(),
        ],
        seconds,
    )
    return {
        **dict.fromkeys(COLUMNS),
        "condition": f"{name} at {activity:.0%}, brainevent",
        "net": name,
        "activity": activity,
        "against": "brainevent, one product",
        "ours": ours_ms,
        "products": dense_ms,
        "theirs": theirs_ms,
        "products/ours": dense_ms / ours_ms,
        "theirs/ours": theirs_ms / ours_ms,
    }


def row_of(contender: str, name: str, activity: float, seconds: float) -> dict[str, Any]:
    """A training step and inference of a whole network."""
    _, build_forward, settings = CONTENDERS[contender]
    wide: Any
    wide, *_, inputs = build(name, settings)
    scale_to_rate(wide, inputs, None, activity)
    ours: Any = copy.deepcopy(wide)
    for neuron in ours.neurons:
        neuron.surrogate = COMPACT
    _, layers, shapes, _ = build(name, settings)
    for layer, scaled in zip(layers, [*wide.weights, wide.readout.linear], strict=True):
        (layer[-1] if isinstance(layer, nn.Sequential) else layer).load_state_dict(scaled.state_dict())
    steps: int = wide.steps_per_observation
    theirs = build_forward(layers, shapes[1:], steps)
    with torch.no_grad():
        expected, found = ours(inputs)[0][0], theirs(inputs[0])
    if (found - expected).abs().max() > 1e-4 * expected.abs().max():
        raise SystemExit(f"{contender} computes something else for {name}")

    alone = products(layers, shapes, steps, inputs.shape[1])
    forward = [lambda x, net=net: net(x)[0] for net in (ours, wide)]
    training = [training_step([net], run, inputs) for net, run in zip((ours, wide), forward, strict=True)]
    compact_ms, wide_ms, theirs_ms, products_ms = alternate(
        [*training, training_step(layers, theirs, inputs[0]), alone], seconds
    )
    ours_infer, theirs_infer = alternate([inference(forward[0], inputs), inference(theirs, inputs[0])], seconds / 2)
    values = (
        f"{name} at {activity:.0%}, {contender}", name, activity, near_share(ours, inputs), contender, compact_ms,
        wide_ms, products_ms, theirs_ms, products_ms / compact_ms, theirs_ms / compact_ms, ours_infer, theirs_infer,
        theirs_infer / ours_infer,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def meta_row(name: str, sizes: tuple[int, ...], iterations: int, seconds: float) -> dict[str, Any]:
    """What lists would save of a whole meta-iteration, if they took every product that reads spikes.

    The products are those of the second hidden layer, of its real spikes after some meta-iterations, with weights of
    each task's own. Half of a meta-iteration's products read gradients on both sides: they stay dense.
    """
    experiment: Any = get_experiment(name)
    experiment = dataclasses.replace(experiment, spiking=dataclasses.replace(experiment.spiking, hidden_sizes=sizes))
    trainable = MetaTrainable({"experiment": experiment, "policy": "spiking", "seed": 0})
    trainable.iterations_per_step = 1
    for _ in range(iterations):
        trainable.step()
    spikes = task_spikes(experiment, trainable.maml.model)
    num_tasks, _, num_inputs = spikes.shape
    num_outputs = sizes[1]
    grads = torch.randn(*spikes.shape[:2], num_outputs)
    rows = torch.randn(num_tasks, num_inputs, num_outputs)
    side_by_side, flat = rows.view(-1, num_outputs).t(), grads.view(-1, num_outputs)
    weight, product = rows.transpose(1, 2).contiguous(), LinearProduct(num_tasks * num_inputs, num_outputs)

    def listed() -> SpikeLists | None:
        """All tasks in one: a neuron of task m is named as one of the m-th of as many layers."""
        lists = lists_if_few(spikes.view(-1, num_inputs))
        if lists is not None:
            firsts = torch.arange(0, num_tasks * num_inputs, num_inputs, dtype=torch.int32)
            lists.index.view(num_tasks, -1).add_(firsts[:, None])
        return lists

    if (lists := listed()) is None:
        raise SystemExit(f"too many spikes for lists: {name}, {sizes}")
    pairs = (
        (torch.bmm(spikes, weight.transpose(1, 2)), product.forward(lists, side_by_side).view_as(grads)),
        (
            torch.bmm(spikes.transpose(1, 2), grads).view(-1, num_outputs),
            product.weight_gradient(flat, lists, side_by_side).t(),
        ),
    )
    for expected, found in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    step_ms, *others = alternate(
        [
            trainable.step,
            lambda: torch.bmm(spikes, weight.transpose(1, 2)),
            lambda: torch.bmm(grads.transpose(1, 2), spikes),
            lambda: product.forward(lists, side_by_side),
            lambda: product.weight_gradient(flat, lists, side_by_side),
            listed,
        ],
        seconds,
        time.process_time,
    )
    inner = experiment.algorithm.maml.inner_steps
    # forward products and those with the outer gradient in place of weights, weights' gradients, layers that emit
    forward, gradient, emitted = (
        (5 * inner + 2, 4 * inner + 1, 4 * inner + 2)  # a policy plays first, and is judged after each inner step
        if name == "gridworld-maml"
        else (2 * inner + 1, 2 * inner + 1, inner + 1)
    )
    dense_ms = forward * others[0] + gradient * others[1]
    listed_ms = forward * others[2] + gradient * others[3] + emitted * others[4]
    return {
        "learner": f"{name} {'-'.join(map(str, sizes))}", "tasks": num_tasks, "rows": spikes.shape[1],
        "after": iterations, "activity": spikes.mean().item(), "forward": others[0], "by lists": others[2],
        "weights": others[1], "their lists": others[3], "listing": others[4], "meta-iteration": step_ms,
        "all dense": dense_ms, "all listed": listed_ms, "gain": step_ms / (step_ms - dense_ms + listed_ms),
    }  # fmt: skip


def task_spikes(experiment: Any, model: nn.Module) -> torch.Tensor:
    """What the first hidden layer emits for a meta-batch ``[M, T * K, N]``, before any inner step."""
    num_tasks = experiment.algorithm.meta_batch
    batch: Any = family_of(experiment.tasks).distribution().sample("train", range(num_tasks))
    x = batch.grids.all_observations().float() if hasattr(batch, "grids") else batch.support_x
    emitted: list[torch.Tensor] = []
    first = next(layer for layer in model.modules() if isinstance(layer, SampleLIF))
    handle = first.register_forward_hook(lambda layer, given, spikes: emitted.append(spikes))
    with torch.no_grad():
        model(x.flatten(0, 1))
    handle.remove()
    steps_first = emitted[0].unflatten(0, (first.num_steps, num_tasks, -1))
    return steps_first.transpose(0, 1).flatten(1, 2).contiguous()


def meta_table(seconds: float, path: Path | None) -> None:
    """Sinusoids and gridworlds with wider and wider layers, at the start and later."""
    conditions = [
        (name, sizes, iterations)
        for name, after, several in (
            ("sinusoid-maml", 100, ((64, 64), (256, 256), (512, 512))),
            ("gridworld-maml", 20, ((64, 64), (256, 256))),
        )
        for sizes in several
        for iterations in (0, after)
    ]
    rows = []
    for condition in conditions:
        rows.append(meta_row(*condition, seconds))
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()), flush=True)
    show(
        "what lists would save of a meta-iteration, milliseconds of computing time, one thread",
        rows,
        path,
        note="medians of alternating blocks",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also SpikingJelly, Norse and brainevent")
    parser.add_argument("--nets", nargs="+", choices=[*FULL, *MAPS], default=[*FULL, *MAPS])
    parser.add_argument("--activity", type=float, nargs="+", default=[2, 6, 20], help="per cent")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per training cell")
    parser.add_argument("--meta", action="store_true", help="what lists would save in meta-learning, and nothing else")
    parser.add_argument("--table", type=Path, help="also write it there, as JSON that `make tables` reads")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if args.meta:
        meta_table(args.seconds, args.table)
        return
    rows: list[dict[str, Any]] = []
    rivals = {name: module for name, (module, *_) in CONTENDERS.items()} | {"brainevent": "brainevent"}
    for name, contender, activity in itertools.product(args.nets, rivals, args.activity):
        is_product = contender == "brainevent"
        if contender != "snntorch" and (not args.peers or name in MAPS):
            continue
        if importlib.util.find_spec(rivals[contender]) is None:
            print(f"{contender} is not installed")
            continue
        run = brainevent_row if is_product else partial(row_of, contender)
        rows.append(run(name, activity / 100, args.seconds))
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()), flush=True)
    show(
        "training steps at an activity, milliseconds, one thread",
        rows,
        args.table,
        note="medians of alternating blocks",
    )


if __name__ == "__main__":
    main()
