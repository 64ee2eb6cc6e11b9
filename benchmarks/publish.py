"""Put finished runs under experiments/results, in a form that can be audited.

Run:
    python benchmarks/publish.py runs/cartpole-ppo/spiking-seed?
    python benchmarks/publish.py runs/five/spiking-seed0 --out experiments/results/sinusoid-maml-5-shot/spiking
    python benchmarks/publish.py experiments/results/cartpole-ppo/spiking/seed? runs/cartpole-ppo/spiking-seed5
"""

from __future__ import annotations

import argparse
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.kinds.publishing import publish
from synrl_ray.running.run_folder import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs or published seeds of one setting")
    parser.add_argument("--out", type=Path, help="default: experiments/results/EXPERIMENT/POLICY")
    args = parser.parse_args()
    try:
        spec = RunFolder.open(args.runs[0]).spec()
        out = args.out or Path("experiments/results") / spec.experiment.id / spec.policy
        result = publish(args.runs, out)
    except UserError as error:
        parser.error(str(error))
    print(f"{out}: {len(args.runs)} seeds, {result.score} {result.figure(result.score):.4f}")


if __name__ == "__main__":
    main()
