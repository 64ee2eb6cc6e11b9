"""Individuals evaluated in their environments, in the driver or in a worker.

All that is random in an evaluation is a function of the run's seed, the generation and the individual, so that returns
are the same in whichever process, and whatever else is evaluated there.

Legend: P pairs, E episodes of an individual, N episodes that are played together, G genomes, D genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import NamedTuple

import numpy as np

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.time_limit import most_steps
from synrl_ray.envs.together import Together, together
from synrl_ray.evolution.strategy import perturbation
from synrl_ray.policies.hebbian.layout import HebbianLayout
from synrl_ray.policies.hebbian.network import HebbianNetwork
from synrl_ray.policies.hebbian.random import stream, uniform_weights
from synrl_ray.settings.evolution import EvolutionExperiment
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.snn.device import compute_alone

_SEEDS = 2**31
"""Environment seeds of training begin here; those of evaluations are smaller as a rule."""


class Evaluated(NamedTuple):
    """What a number of pairs have come to."""

    returns: np.ndarray
    """``[P, 2, E]``, of each pair as it is and mirrored."""
    env_steps: int
    episodes: int


class Individuals:
    """Evaluates perturbations of genes; it remembers nothing but its environments.

    Args:
        experiment: what is evolved.
        policy: which of its networks.
        seed: of the run.
    """

    def __init__(self, experiment: EvolutionExperiment, policy: PolicyKind, seed: int) -> None:
        compute_alone()
        self.experiment, self.seed = experiment, seed
        self._policy = policy
        self._made: dict[int, Together] = {}

    @cached_property
    def layout(self) -> HebbianLayout:
        """The network's shapes; an environment is made for them."""
        environment = self.experiment.environment
        with closing(make_environment(environment.id, environment.kwargs, environment.preprocessing)) as env:
            spaces = env.observation_space, env.action_space
            self._longest = most_steps(env)
        return HebbianLayout(*spaces, self.experiment.policy(self._policy), environment.id)

    def _envs(self, count: int) -> Together:
        """So many environments; requests are of one or two sizes."""
        if count not in self._made:
            self._made[count] = together(self.experiment.environment, count)
        return self._made[count]

    def evaluate(self, genes: np.ndarray, sigma: float, generation: int, pairs: Sequence[int]) -> Evaluated:
        """The returns of pairs of individuals, genes plus and minus a perturbation.

        Args:
            genes: ``[D]``.
            sigma: standard deviation of the perturbations.
            generation: the number of the generation.
            pairs: numbers of the pairs.

        Raises:
            EnvironmentFailure: if the environment raises or breaks its contract.
        """
        genomes = []
        for pair in pairs:
            moved = np.float32(sigma) * perturbation(self.seed, generation, pair, len(genes))
            genomes += [genes + moved, genes - moved]
        episodes = self.experiment.algorithm.num_episodes
        returns, lengths = self._play(genomes, generation, np.repeat(np.arange(len(genomes)), episodes))
        return Evaluated(returns.reshape(len(pairs), 2, episodes), int(lengths.sum()), len(returns))

    def _play(
        self, genomes: Sequence[np.ndarray], generation: int, genome: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns and lengths of an episode for each row, which has one of the genomes ``[N]``.

        Every genome's episodes have the same environment seeds and initial weights.
        """
        layout, episodes = self.layout, self.experiment.algorithm.num_episodes
        network, settings = HebbianNetwork(layout, genomes), layout.settings
        envs = self._envs(len(genome))
        seeds = stream(self.seed, "environment", generation).integers(_SEEDS, size=episodes) + _SEEDS
        size = layout.num_synapses if settings.plastic else 0
        begun = [
            uniform_weights(self.seed, generation + 1, episode, size, settings.initial_weights)
            for episode in range(episodes)
        ]
        running = np.arange(len(genome))
        state = network.start(np.stack([begun[row % episodes] for row in running]))
        seen = envs.reset([int(seeds[row % episodes]) for row in running])
        returns, lengths = np.zeros(len(genome)), np.zeros(len(genome), np.int64)
        while len(running):
            actions = network.actions(np.nan_to_num(network.act(seen, state, genome[running])))
            seen, rewards, ended = envs.step(running, actions)
            returns[running] += rewards
            lengths[running] += 1
            going = ~ended & (lengths[running] < self._longest)
            if not going.all():
                running, state, seen = running[going], state[going], seen[going]
        return returns, lengths

    def close(self) -> None:
        """Close the environments."""
        for envs in self._made.values():
            envs.close()
