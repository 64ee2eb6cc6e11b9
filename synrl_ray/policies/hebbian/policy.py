"""An evolved policy that acts without Ray, and its files: safetensors for the genome, JSON for the rest.

Legend: N observations, S state.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator

from synrl_ray.errors import NonFiniteError
from synrl_ray.policies.description import Description, damage_of, described, read_description
from synrl_ray.policies.given import observations_from, states_from
from synrl_ray.policies.hebbian.layout import Genome, HebbianLayout, HebbianSettings
from synrl_ray.policies.hebbian.network import HebbianNetwork
from synrl_ray.policies.hebbian.random import stream, uniform_weights
from synrl_ray.policies.layers import require_bounded
from synrl_ray.policies.space_files import space_from_json, space_to_json
from synrl_ray.policies.weights import load_module, save_module
from synrl_ray.settings.hebbian import AnnHebbian, SpikingHebbian

_FORMAT = "hebbian-1"


class HebbianPolicy:
    """Acts on numpy observations, and changes its weights within an episode: they are its state.

    The weights of an episode's start are random. Those of the n-th episode that a policy begins are a function of its
    seed and n, so that a new policy of the same seed plays the same episodes.

    Args:
        layout: the network's shapes.
        genome: ``[D]``, what evolution has found.
        seed: of the weights at the start of episodes.
        learns: whether weights change.
    """

    def __init__(self, layout: HebbianLayout, genome: np.ndarray, *, seed: int = 0, learns: bool = True) -> None:
        self.layout, self.genome, self.seed = layout, genome, seed
        self.network = HebbianNetwork(layout, [genome], learns=learns)
        self.observation_space, self.action_space = layout.observation_space, layout.action_space
        self._num_episodes = 0

    @property
    def kind(self) -> str:
        """``"ann"`` or ``"spiking"``."""
        return self.layout.settings.kind

    def anew(self, seed: int, *, learns: bool = True) -> HebbianPolicy:
        """The same with another seed, which has begun no episode yet; with ``learns=False`` the control whose weights
        stay as they were drawn."""
        return HebbianPolicy(self.layout, self.genome, seed=seed, learns=learns)

    def shuffled(self, seed: int) -> HebbianPolicy:
        """The control whose synapses have each other's rules, or weights: those of a layer in random order."""
        genome = self.genome.copy()
        for i, (name, part) in enumerate(self.layout.split(genome).items()):
            if part.ndim > 1 and not name.startswith("filters"):
                flat = part.reshape(-1, part.shape[-1] * part.shape[-2])  # the rows of a synapse stay together
                flat[:] = flat[:, stream(seed, "shuffle", i).permutation(flat.shape[1])]
        return HebbianPolicy(self.layout, genome, seed=seed)

    def initial_state(self, batch: int | None = None) -> np.ndarray:
        """The state at the start of the next episode, ``[S]``, or of the next ones, ``[batch, S]``."""
        count, settings = 1 if batch is None else batch, self.layout.settings
        weights = np.zeros((count, self.layout.num_synapses if settings.plastic else 0), np.float32)
        if settings.plastic:
            for row in weights:
                row[:] = uniform_weights(self.seed, 0, self._num_episodes, row.size, settings.initial_weights)
                self._num_episodes += 1
        state = self.network.start(weights)
        return state[0] if batch is None else state

    def act(self, observation: Any, state: Any = None, *, deterministic: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Choose actions, and change the weights.

        Args:
            observation: ``[*obs]`` or ``[N, *obs]``, numbers of any type; N may be 0.
            state: what the previous call returned, ``None`` at an episode's start.
            deterministic: ``True``: nothing is drawn.

        Returns:
            The action as the environment takes it, and the state for the next call; batched as the observation.

        Raises:
            ValueError: for an action by chance.
            InputError: if observation or state are no numbers of their spaces, or of another shape; a ``ValueError``.
            NonFiniteError: if observation, state or what the network makes of them hold NaN or infinity.
        """
        if not deterministic:
            raise ValueError("an evolved policy draws no actions")
        batch, single = observations_from(observation, self.observation_space)
        given = self.initial_state(len(batch)) if state is None else state
        after = states_from(given, len(batch), self.layout.state_size).copy()
        outputs = self.network.act(batch, after, np.zeros(len(batch), np.int64))
        if not (np.isfinite(outputs).all() and np.isfinite(after).all()):
            raise NonFiniteError("the policy's output", "for these observations", "check their scale")
        actions = self.network.actions(outputs)
        return (actions[0], after[0]) if single else (actions, after)

    def save(self, folder: Path, **metadata: Any) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` (with ``metadata`` in it), each atomically."""
        description = {
            "format": _FORMAT,
            "settings": asdict(self.layout.settings),
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            **metadata,
        }
        save_module(Genome(self.layout, self.genome), folder, description)


def load_hebbian_policy(folder: str | Path | Description) -> HebbianPolicy:
    """Inverse of :meth:`HebbianPolicy.save`. Nothing in the folder is executed; Ray is not needed.

    Raises:
        UserError: if the files are missing or damaged.
    """
    description = read_description(folder)
    with damage_of(description.file):
        description.require_format(_FORMAT)
        kinds = Annotated[AnnHebbian | SpikingHebbian, Discriminator("kind")]
        settings: HebbianSettings = described(description, "settings", kinds)
        spaces = (space_from_json(description["observation_space"]), space_from_json(description["action_space"]))
        layout = HebbianLayout(*spaces, settings)
        require_bounded(layout.numbers_per_observation)
    return HebbianPolicy(layout, load_module(lambda: Genome(layout), description.folder).vector())
