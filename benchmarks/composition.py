"""CartPole with whatever a spiking policy can be made of: each neuron, encoder, readout and network learns it, or not.

Run:
    python benchmarks/composition.py                     # three seeds of each, some minutes a seed
    python benchmarks/composition.py --conditions lif synaptic --seeds 5
    python benchmarks/composition.py --out rows.jsonl --table table.json   # goes on where it was stopped

Each is ``cartpole-ppo`` with these settings and nothing tuned. A run ends at the first greedy evaluation (20 episodes)
with a mean of 475 or more, or after 100,000 environment steps, and is then judged by 100 greedy and 100 drawn episodes
on seeds of their own. Seconds are those of a training in one process, on a machine that does other things as well.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from ablation import Rows, by_condition, interval_of, rows_parser, show

import synrl_ray
from synrl_ray.running.own_ray import own_ray
from synrl_ray.running.progress import ignore

_CARRIED = {"spiking.carry_state": True}
_CRITIC = {"spiking.critic": "ann"}
_NORMALISED = {"spiking.normalise_observations": True}
CONDITIONS: dict[str, dict[str, Any]] = {
    "lif": {},
    "lif, carried": _CARRIED,
    "synaptic": {"spiking.neuron": "synaptic"},
    "synaptic, carried": {"spiking.neuron": "synaptic"} | _CARRIED,
    "synaptic, carried, critic=ann": {"spiking.neuron": "synaptic"} | _CARRIED | _CRITIC,
    "adaptive": {"spiking.neuron": "adaptive"},
    "adaptive, carried": {"spiking.neuron": "adaptive"} | _CARRIED,
    "snntorch.Leaky": {"spiking.neuron": "snntorch.Leaky"},
    "snntorch.Synaptic": {"spiking.neuron": "snntorch.Synaptic"},
    "snntorch.Alpha": {"spiking.neuron": "snntorch.Alpha", "alpha": 0.95, "threshold": 0.25},
    "snntorch.Lapicque": {"spiking.neuron": "snntorch.Lapicque"},
    "snntorch.Lapicque, firing_rate=0.1": {"spiking.neuron": "snntorch.Lapicque", "spiking.firing_rate": 0.1},
    "recurrent=one_to_one, carried": {"spiking.recurrent": "one_to_one"} | _CARRIED,
    "recurrent=all_to_all, carried": {"spiking.recurrent": "all_to_all"} | _CARRIED,
    "norm=layer": {"spiking.norm": "layer"},
    "norm=running": {"spiking.norm": "running"},
    "norm=running, critic=ann": {"spiking.norm": "running"} | _CRITIC,
    "encoder=population": {"spiking.encoder": "population"} | _NORMALISED,
    "encoder=latency": {"spiking.encoder": "latency", "steps_per_observation": 8} | _NORMALISED,
    "encoder=latency, critic=ann": {"spiking.encoder": "latency", "steps_per_observation": 8} | _NORMALISED | _CRITIC,
    "encoder=delta": {"spiking.encoder": "delta"} | _NORMALISED | _CARRIED,
    "encoder=delta, critic=ann": {"spiking.encoder": "delta"} | _NORMALISED | _CARRIED | _CRITIC,
    "readout=max": {"spiking.readout": "max"},
    "readout=mean": {"spiking.readout": "mean"},
    "readout=spikes": {"spiking.readout": "spikes"},
    "readout=population": {"spiking.readout": "population"},
    "readout=population, critic=ann": {"spiking.readout": "population"} | _CRITIC,
    "critic=ann": _CRITIC,
    "firing_rate=0.1": {"spiking.firing_rate": 0.1},
    "skip": {"spiking.skip": True, "spiking.hidden_sizes": [64, 64, 64]},
    "own network": {"spiking.network": "own_networks:TwoLayers"},
    "own network, recurrent, carried": {"spiking.network": "own_networks:Recurrent"} | _CARRIED,
}


def run(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """What one seed comes to."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        trained = synrl_ray.train(
            "cartpole-ppo",
            settings={"stopping.mean_return": 475.0} | settings,
            seed=seed,
            run_dir=Path(folder) / "run",
            watch=ignore,
        )
        seconds = time.monotonic() - began
        rows, result = trained.metrics(), trained.result
    steps = next((row["env_steps"] for row in rows if (row.get("evaluation_return_mean") or 0.0) >= 475), None)
    return {
        "steps": steps,
        "greedy": result.figure("return_mean"),
        "sampled": result.figures["sampled_return_mean"],
        "seconds_per_10000_steps": 10_000 * seconds / rows[-1]["env_steps"],
    }


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition."""
    return [
        {
            "condition": name,
            "seeds": len(own),
            "reached": sum(row["steps"] is not None for row in own),
            "steps": tuple(sorted(row["steps"] or 0 for row in own)),
            "greedy": interval_of([row["greedy"] for row in own]),
            "worst": min(row["greedy"] for row in own),
            "sampled": interval_of([row["sampled"] for row in own]),
            "seconds_per_10000_steps": interval_of([row["seconds_per_10000_steps"] for row in own]),
        }
        for name, own in by_condition(rows).items()
    ]


def main() -> None:
    parser = rows_parser(__doc__, seeds=3)
    parser.add_argument("--conditions", nargs="+", help="some of them; all by default")
    args = parser.parse_args()
    known, rows = Rows(args.out), []
    with own_ray(num_cpus=1):
        for seed in range(args.seeds):
            for name, settings in CONDITIONS.items():
                if args.conditions and name not in args.conditions:
                    continue
                keys = {"condition": name, "seed": seed, "settings": settings}
                rows.append(row := known.get(keys, partial(run, settings, seed)))
                print(f"{name} seed {seed}: {row}", flush=True)
    show("CartPole-v1, cartpole-ppo with these settings", table_of(rows), args.table)


if __name__ == "__main__":
    main()
