"""Environment steps per second of a spiking A2C on CartPole, sampling and learning together, against other libraries.

Run (``make bench-spiking-a2c``; SpikingJelly comes with the extra ``peers``):
    python benchmarks/spiking_a2c.py
    python benchmarks/spiking_a2c.py --envs 4 16 64 --seconds 1 --repeats 5

One plain loop is the same for all networks: five steps of every environment without gradients, then one step of
RMSprop on these rows. Actor and critic are 4-64-64-2 and 4-64-64-1, simulated for four steps from rest for each
observation:

    ours                    this project's spiking ActorCritic
    snntorch                its Leaky layers in a loop over the steps
    spikingjelly            its LIFNode layers in multi-step mode, and a readout that does not spike, as in its example
    spikingjelly, example   the network of its example spiking_a2c.py as it is: one hidden layer of 256 IFNodes, 16
                            steps, one at a time
    twin                    this project's non-spiking ActorCritic of the same sizes

``RLlib`` rows are not that loop but this project's A2C end to end: RLlib, the batched env runner and the learner, at
the same settings. Contenders run in turn, in blocks of ``--seconds``; rates are medians over blocks, ratios medians of
the ratios within a round. ``ours / it`` divides by a plain contender the plain loop's ours, by a contender on RLlib
RLlib's ours.

Where other work shares the cores, ``--clock cpu`` counts the seconds that this process computed (all its threads) in
place of those that passed.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.algorithms.on_policy.losses import policy_gradient_loss
from synrl_ray.algorithms.on_policy.rmsprop import RMSpropTF
from synrl_ray.experiment import A2C, Environment, Experiment, Stopping
from synrl_ray.policies.actions.discrete import Categorical
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.running.own_ray import own_ray
from synrl_ray.settings.policies import AnnPolicy, PolicyConfig, SpikingPolicy

ENV, HIDDEN, SIMULATION_STEPS, BETA = "CartPole-v1", (64, 64), 4, 0.9
FRAGMENT, GAMMA, LR, VALUE_COEFF, GRAD_CLIP = 5, 0.99, 7e-4, 0.5, 0.5
SPIKING = SpikingPolicy(hidden_sizes=HIDDEN, steps_per_observation=SIMULATION_STEPS, beta=BETA)
ANN = AnnPolicy(hidden_sizes=HIDDEN)
OBSERVED, CHOSEN = 4, 2
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Network = Callable[[Tensor], tuple[Tensor, Tensor]]


class Contender(Protocol):
    """What is measured."""

    def run(self) -> int:
        """Sample and learn once; return the environment steps."""


class PlainLoop:
    """A2C without a framework, around a network of observations ``[B, 4]`` to logits ``[B, 2]`` and values ``[B]``."""

    def __init__(self, network: nn.Module, num_envs: int) -> None:
        self.network = network
        self.optimizer = RMSpropTF(network.parameters(), lr=LR)
        self.envs = gym.make_vec(ENV, num_envs=num_envs)
        self.actions = Categorical(self.envs.single_action_space)
        self.observations, _ = self.envs.reset(seed=0)
        self.ended = np.zeros(num_envs, np.bool_)

    def run(self) -> int:
        rows: list[tuple[np.ndarray, Tensor, np.ndarray]] = []
        steps: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        with torch.no_grad():
            for _ in range(FRAGMENT):
                logits, values = self.network(torch.from_numpy(self.observations))
                actions, _ = self.actions.sample(logits)
                rows.append((self.observations, actions, ~self.ended))  # the step after an end is a reset
                self.observations, rewards, terminated, truncated, _ = self.envs.step(actions.numpy())
                self.ended = terminated | truncated
                steps.append((values.numpy(), rewards, terminated, truncated))
            following = self.network(torch.from_numpy(self.observations))[1].numpy()
        returns = _returns(steps, following)
        valid = torch.from_numpy(np.concatenate([mask for _, _, mask in rows]))
        self._learn(
            torch.from_numpy(np.concatenate([observations for observations, _, _ in rows]))[valid],
            torch.cat([actions for _, actions, _ in rows])[valid],
            torch.from_numpy(np.concatenate(returns).astype(np.float32))[valid],
            torch.from_numpy(np.concatenate([values for values, *_ in steps]))[valid],
        )
        return int(valid.sum())

    def _learn(self, observations: Tensor, actions: Tensor, returns: Tensor, old_values: Tensor) -> None:
        logits, values = self.network(observations)
        logp, entropy = self.actions.logp_and_entropy(logits, actions)
        loss = policy_gradient_loss(
            logp=logp, advantages=returns - old_values, values=values, value_targets=returns, entropy=entropy,
            value_coeff=VALUE_COEFF, entropy_coeff=0.0,
        )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRAD_CLIP)
        self.optimizer.step()


def _returns(steps: list[tuple[np.ndarray, ...]], following: np.ndarray) -> list[np.ndarray]:
    """Discounted rewards to go, bootstrapped at a truncation and behind the fragment."""
    result, to_go = [], following
    for values, rewards, terminated, truncated in reversed(steps):
        to_go = rewards + GAMMA * np.where(terminated, 0.0, np.where(truncated, following, to_go))
        result.append(to_go)
        following = values
    return result[::-1]


class ThroughRLlib:
    """This project's A2C end to end, sampling in the driver."""

    def __init__(self, policy: PolicyConfig, num_envs: int) -> None:
        from synrl_ray.algorithms.build import algorithm_config

        experiment = Experiment(
            id="bench", summary="", environment=Environment(id=ENV, num_envs=num_envs), spiking=SPIKING, ann=ANN,
            algorithm=A2C(lr=LR, gamma=GAMMA, num_steps=FRAGMENT, vf_loss_coeff=VALUE_COEFF, grad_clip=GRAD_CLIP),
            stopping=Stopping(env_steps=10**9),
        )  # fmt: skip
        self.algorithm = algorithm_config(experiment, policy.kind, seed=0, num_workers=0).build_algo()
        self.steps = 0

    def run(self) -> int:
        before = self.steps
        self.steps = int(self.algorithm.train()["num_env_steps_sampled_lifetime"])
        return self.steps - before


class Ours(nn.Module):
    """This project's network."""

    def __init__(self, policy: PolicyConfig) -> None:
        super().__init__()
        env = gym.make(ENV)
        self.network = ActorCritic(env.observation_space, env.action_space, policy)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        logits, values, _ = self.network(observations.unsqueeze(0))
        return logits[0], values[0]


class Bodies(nn.Module):
    """An actor and a critic that a library makes."""

    def __init__(self, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.actor, self.critic = make(CHOSEN), make(1)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor(observations), self.critic(observations).squeeze(-1)


def snntorch_network() -> nn.Module:
    """Leaky layers, stepped in a loop."""
    import snntorch
    from snntorch import surrogate

    class Body(nn.Module):
        def __init__(self, out_features: int) -> None:
            super().__init__()
            sizes = (OBSERVED, *HIDDEN, out_features)
            self.linears = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
            neurons = [snntorch.Leaky(beta=BETA, spike_grad=surrogate.fast_sigmoid(slope=25)) for _ in HIDDEN]
            self.neurons = nn.ModuleList([*neurons, snntorch.Leaky(beta=BETA, reset_mechanism="none")])

        def forward(self, inputs: Tensor) -> Tensor:
            membranes = [neuron.init_leaky() for neuron in self.neurons]
            for _ in range(SIMULATION_STEPS):
                signal = inputs
                for i, (linear, neuron) in enumerate(zip(self.linears, self.neurons, strict=True)):
                    signal, membranes[i] = neuron(linear(signal), membranes[i])
            return membranes[-1]

    return Bodies(Body)


def spikingjelly_network(*, as_in_its_example: bool) -> nn.Module:
    """LIF layers in multi-step mode; or IF layers, simulated step by step, in the sizes of the example."""
    from spikingjelly.activation_based import functional, layer, neuron

    class Readout(neuron.SimpleLIFNode):
        """Does not spike: its membrane after the last step is the output."""

        def single_step_forward(self, x: Tensor) -> Tensor:
            self.neuronal_charge(x)
            return self.v

        def multi_step_forward(self, x_seq: Tensor) -> Tensor:
            for x in x_seq:
                self.neuronal_charge(x)
            return self.v

    class Body(nn.Module):
        def __init__(self, out_features: int) -> None:
            super().__init__()
            if as_in_its_example:
                sizes, self.num_steps, mode = (OBSERVED, 256, out_features), 16, "s"
            else:
                sizes, self.num_steps, mode = (OBSERVED, *HIDDEN, out_features), SIMULATION_STEPS, "m"
            layers: list[nn.Module] = []
            for before, after in pairwise(sizes[:-1]):
                spiking = neuron.IFNode() if as_in_its_example else neuron.LIFNode(tau=1 / (1 - BETA))
                layers += [layer.Linear(before, after), spiking]
            layers += [layer.Linear(*sizes[-2:]), Readout(tau=2.0, decay_input=True)]
            self.layers = nn.Sequential(*layers)
            functional.set_step_mode(self.layers, mode)
            self.mode = mode

        def forward(self, inputs: Tensor) -> Tensor:
            if self.mode == "m":
                self.layers(inputs.expand(self.num_steps, *inputs.shape))
            else:
                for _ in range(self.num_steps):
                    self.layers(inputs)
            membrane = self.layers[-1].v
            functional.reset_net(self.layers)
            return membrane

    return Bodies(Body)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ours": lambda: Ours(SPIKING),
    "snntorch": snntorch_network,
    "spikingjelly": lambda: spikingjelly_network(as_in_its_example=False),
    "spikingjelly, example": lambda: spikingjelly_network(as_in_its_example=True),
    "twin": lambda: Ours(ANN),
}
RLLIB: dict[str, PolicyConfig] = {"RLlib, ours": SPIKING, "RLlib, twin": ANN}


def contenders(num_envs: int, absent: dict[str, str], *, with_rllib: bool) -> dict[str, Contender]:
    """Everyone who is installed; ``absent`` notes the others."""
    found: dict[str, Any] = {}
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        try:
            found[name] = PlainLoop(make(), num_envs)
        except ImportError as error:
            absent[name] = str(error)
    for name, policy in RLLIB.items() if with_rllib else ():
        found[name] = ThroughRLlib(policy, num_envs)
    return found


def block(contender: Contender, seconds: float, clock: Callable[[], float]) -> float:
    """Environment steps per second."""
    steps, began = 0, clock()
    while True:
        steps += contender.run()
        elapsed = clock() - began
        if elapsed >= seconds:
            return steps / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a block, at least")
    parser.add_argument("--repeats", type=int, default=5, help="blocks of each contender")
    parser.add_argument("--plain", action="store_true", help="the plain loop only, without Ray")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    clock = CLOCKS[options.clock]
    torch.set_num_threads(1)
    logging.getLogger("ray").setLevel(logging.ERROR)
    with nullcontext() if options.plain else own_ray(num_cpus=1, object_store_memory=128 * 1024**2):
        print(f"{ENV}, A2C, fragments of {FRAGMENT} steps: environment steps per second, sampling and learning")
        print(f"{'envs':>4}  {'network':<24}{'steps/s':>10}{'ours / it':>11}")
        absent: dict[str, str] = {}
        for num_envs in options.envs:
            them = contenders(num_envs, absent, with_rllib=not options.plain)
            for contender in them.values():
                block(contender, options.seconds / 3, clock)
            rounds = [{n: block(c, options.seconds, clock) for n, c in them.items()} for _ in range(options.repeats)]
            for name in them:
                rate = statistics.median(rates[name] for rates in rounds)
                reference = "RLlib, ours" if name in RLLIB else "ours"
                ratio = statistics.median(rates[reference] / rates[name] for rates in rounds)
                print(f"{num_envs:>4}  {name:<24}{rate:>10,.0f}{ratio:>10.2f}x", flush=True)
            jelly = "spikingjelly, example"
            if jelly in them and "RLlib, ours" in them:
                ratio = statistics.median(rates["RLlib, ours"] / rates[jelly] for rates in rounds)
                print(f"      RLlib, ours / {jelly}: {ratio:.1f}x")
        for name, reason in absent.items():
            print(f"{name}: not installed ({reason}): uv pip install -c requirements.txt -e '.[peers]'")


if __name__ == "__main__":
    main()
