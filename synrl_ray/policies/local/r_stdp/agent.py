r"""An agent of input neurons and competing action neurons that learns by reward-modulated STDP.

Legend: N environments, S observations judged at once, K simulation steps, I input neurons, A actions, M neurons of each
action, O = A * M.

For each observation, input neurons fire: place cells (:func:`~synrl_ray.policies.local.r_stdp.spikes.place_spikes`), or
what the environment's own spikes are, where an observation is such. Their spikes
:math:`x` drive action neurons through the weights w, and the action whose neuron fires first is taken
(:func:`~synrl_ray.policies.local.r_stdp.spikes.winner_take_all`):

.. math:: i_{to} = \sum_i w_{io}\, x_{ti} + \sigma_n\, \xi_{to} + c_n\, [o \text{ belongs to the right action}]

:math:`\sigma_n` is the noise that explores and :math:`c_n` the teacher's current; both follow a schedule, and neither
is there in evaluation. What the environment answers arrives at the observation's last simulation step as the
modulator m of :func:`~synrl_ray.plasticity.reward_modulated.reward_modulated_stdp`, whose eligibility traces are each
environment's own. The changes of all environments are added. With ``modulator="td_error"``, m is the error of a linear
critic of the place cells' firing rates :math:`\rho` (spikes per simulation step), which learns by TD(:math:`\lambda`)
with the eligibility's time constant, normalised:

.. math::
    m &= r + \gamma\, v \cdot \rho' - v \cdot \rho, \qquad
    z = \gamma\, e^{-K \Delta t / \tau_e}\, z + \rho, \qquad
    \Delta v = \alpha\, m\, z / \lVert \rho \rVert^2

References:
    Frémaux, Sprekeler & Gerstner (2013), doi:10.1371/journal.pcbi.1003024: place cells, spiking actor with lateral
    inhibition, TD error as third factor; their critic is spiking and time continuous.
    Foster, Morris & Dayan (2000), doi:10.1002/(SICI)1098-1063(2000)10:1<1::AID-HIPO1>3.0.CO;2-1: actor and critic
    on place cells.
"""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from synrl_ray.envs.flat import FlatSpace
from synrl_ray.errors import UserError
from synrl_ray.plasticity.bounds import apply_delta, clamp_weights
from synrl_ray.plasticity.kernel_choice import decay_factor
from synrl_ray.plasticity.modulation import at_last_step, finite_or_zero, reward_prediction_error
from synrl_ray.plasticity.reward_modulated import EligibilityState, initial_eligibility, reward_modulated_stdp
from synrl_ray.plasticity.teacher import teacher_current
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.policies.local.r_stdp.spikes import place_spikes, poisson_spikes, shuffled_in_time, winner_take_all
from synrl_ray.policies.local.r_stdp.tally import Tally
from synrl_ray.settings.plasticity import RewardPrediction
from synrl_ray.settings.r_stdp import RStdp
from synrl_ray.settings.schedules import linear


class RStdpAgent(LocalAgent):
    """Input neurons → action neurons with winner-take-all; equations stand at the top of the module.

    Args:
        observation_space: ``Box`` of I place cells' activities, not negative; with ``encoding="spikes"`` of spikes
            ``[K, I]``, where what is above 0 is one.
        action_space: ``Discrete(A)``.
        config: its settings.
        teacher_actions: ``[I]`` of integers, the right action where place cell i is the most active one, -1 for
            none: :meth:`synrl_ray.envs.maze.MazeEnv.optimal_actions`. Read in training only, with ``config.teach``.
        seed: of the initial weights.

    Attributes:
        action_weights: ``[I, O]``, plastic, within ``config.bounds``.
        critic_weights: ``[I]``, plastic; zero where the modulator is no TD error.

    Raises:
        UserError: for spaces of another kind, a teacher without right actions or with ones that do not exist, or
            initial weights out of bounds.
    """

    plastic_names = ("action_weights", "critic_weights")

    _state: EligibilityState
    action_weights: Tensor
    critic_weights: Tensor

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: RStdp,
        teacher_actions: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_cells, self.num_actions = _sizes(observation_space, action_space, config)
        self.num_neurons = self.num_actions * config.neurons_per_action
        self._teacher = self._checked_teacher(teacher_actions)
        self._beta = decay_factor(config.tau_mem, config.dt)
        low, high = config.initial_weight - config.initial_spread, config.initial_weight + config.initial_spread
        if low < config.bounds.w_min or high > config.bounds.w_max:
            bounds = f"[{config.bounds.w_min}, {config.bounds.w_max}]"
            raise UserError(f"initial weights within {low:g} and {high:g} cross their bounds {bounds}", "move either")
        g = torch.Generator().manual_seed(seed)
        weights = low + (high - low) * torch.rand(self.num_cells, self.num_neurons, generator=g)
        self.register_buffer("action_weights", weights)
        self.register_buffer("critic_weights", torch.zeros(self.num_cells))
        self.tally = Tally()
        self._num_envs = -1

    @classmethod
    def create(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        settings: RStdp,
        *,
        seed: int = 0,
        teacher_actions: np.ndarray | None = None,
    ) -> RStdpAgent:
        """A new agent; the class has the arguments."""
        return cls(observation_space, action_space, settings, teacher_actions=teacher_actions, seed=seed)

    @classmethod
    def is_taught(cls, settings: RStdp) -> bool:
        """Whether the teacher signal is on."""
        return settings.teach

    @classmethod
    def untaught(cls, settings: RStdp) -> RStdp:
        """The settings with the teacher signal off."""
        return replace(settings, teach=False)

    def act(self, observations: np.ndarray, starts: np.ndarray, steps: int, generator: torch.Generator) -> np.ndarray:
        """Choose actions with noise, and with the teacher; :class:`LocalAgent` has the arguments."""
        config, activities = self.config, _tensor(observations)
        self._prepare(len(activities))
        if config.encoding == "poisson":
            pre = poisson_spikes(activities, config.steps_per_observation, config.place_gain, generator)
        else:
            pre = self._certain_spikes(activities)
        current = pre @ self.action_weights
        current += self.noise(steps) * torch.randn(current.shape, generator=generator)
        if config.teach:
            taught = self._teaching(activities, steps)
            current += taught
            self.tally.add("teacher_current", taught.amax(dim=-1))
        post, actions, decided = winner_take_all(current, self.num_actions, self._beta, config.threshold)
        self.tally.add_spikes(pre, post, decided)
        self._rates = self._firing_rates(activities, pre)
        self._pre, self._post = self.seen(pre, post, generator)
        self._starts = torch.from_numpy(np.asarray(starts, np.bool_))
        return actions.numpy()

    def seen(self, pre: Tensor, post: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The spikes that the rule sees, ``[K, N, I]`` and ``[K, N, O]``; controls in ``benchmarks`` show it others."""
        if not self.config.shuffle_spikes:
            return pre, post
        return shuffled_in_time(pre, generator), shuffled_in_time(post, generator)

    def learn(
        self,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        valid: np.ndarray,
        observations: np.ndarray,
    ) -> None:
        """Change the weights; :class:`LocalAgent` has the arguments.

        Raises:
            NonFiniteError: if the weights would not stay finite.
        """
        config = self.config
        reward, counts = torch.from_numpy(np.asarray(rewards, np.float32)), torch.from_numpy(np.asarray(valid))
        modulator, num_skipped = self._modulator(reward, counts, torch.from_numpy(np.asarray(terminated)), observations)
        begins = self._starts if config.eligibility else torch.ones_like(self._starts)
        reset_mask = torch.zeros(config.steps_per_observation, self._num_envs, dtype=torch.bool)
        reset_mask[0] = begins
        proposal = reward_modulated_stdp(
            self._pre,
            self._post,
            at_last_step(modulator.unsqueeze(0), config.steps_per_observation),
            self._state,
            config.rule,
            weights=self.action_weights,
            bounds=config.bounds,
            dt=config.dt,
            reset_mask=reset_mask,
            reduction="sum",
        )
        self._state = proposal.state
        self.action_weights.copy_(apply_delta(self.action_weights, proposal.delta, config.bounds))
        if config.forgetting_steps is not None:
            kept = math.exp(-int(valid.sum()) / config.forgetting_steps)
            self.action_weights.sub_(config.initial_weight).mul_(kept).add_(config.initial_weight)
        if config.modulator == "td_error":
            self._learn_values(modulator, begins)
        self.tally.add_learning(modulator[counts], proposal.state.eligibility, num_skipped)

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """Actions without noise and teacher; Poisson neurons then give their probabilities instead of spikes."""
        return np.concatenate([self._greedy(part)[2].numpy() for part in self.in_parts(observations)])

    def spike_counts(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """Of input neurons (expected numbers, where they are Poisson neurons) and of action neurons."""
        counts = [[spikes.sum(dim=(0, 1)) for spikes in self._greedy(part)[:2]] for part in self.in_parts(observations)]
        pre, post = (torch.stack(parts).sum(dim=0) for parts in zip(*counts, strict=True))
        inputs = "input neurons" if self.config.encoding == "spikes" else "place cells"
        return {inputs: pre.numpy(), "action neurons": post.numpy()}

    @property
    def numbers_per_observation(self) -> int:
        """Spikes and currents in all simulation steps."""
        return self.config.steps_per_observation * (self.num_cells + 2 * self.num_neurons)

    def values(self, observations: np.ndarray) -> np.ndarray:
        """What the critic expects from each observation, ``[S]``."""
        return (self._firing_rates(_tensor(observations)) @ self.critic_weights).numpy()

    def noise(self, steps: int) -> float:
        """Standard deviation of the current noise after ``steps`` environment steps."""
        return linear(self.config.noise_start, self.config.noise_end, self.config.noise_steps, steps)

    def bounded(self, name: str, weight: Tensor) -> Tensor:
        """Action weights within their bounds; a critic has none."""
        return clamp_weights(weight, self.config.bounds) if name == "action_weights" else weight

    def diagnostics(self) -> dict[str, float]:
        """What happened since the last call; :class:`Tally` has the names."""
        return self.tally.take(self.action_weights, self.critic_weights, self.config.bounds)

    def _greedy(self, observations: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Spikes ``[K, S, I]`` and ``[K, S, O]``, actions ``[S]``."""
        config, activities = self.config, _tensor(observations)
        if config.encoding == "poisson":
            pre = self._firing_rates(activities).expand(config.steps_per_observation, *activities.shape)
        else:
            pre = self._certain_spikes(activities)
        post, actions, _ = winner_take_all(pre @ self.action_weights, self.num_actions, self._beta, config.threshold)
        return pre, post, actions

    def _prepare(self, num_envs: int) -> None:
        """Traces at rest, where the environments are new."""
        if num_envs != self._num_envs:
            self._num_envs = num_envs
            self._state = initial_eligibility(self.config.rule, num_envs, self.num_cells, self.num_neurons)
            self._critic_trace = torch.zeros(num_envs, self.num_cells)
            self._mean_reward = torch.zeros(num_envs)

    def _firing_rates(self, activities: Tensor, spikes: Tensor | None = None) -> Tensor:
        """Expected spikes per simulation step, ``[N, I]``."""
        if self.config.encoding == "poisson":
            return (self.config.place_gain * activities).clamp(0, 1)
        return (self._certain_spikes(activities) if spikes is None else spikes).mean(dim=0)

    def _certain_spikes(self, activities: Tensor) -> Tensor:
        """What is given, or LIF neurons fire: ``[K, N, I]``."""
        if self.config.encoding == "spikes":
            return (activities > 0).to(activities.dtype).transpose(0, 1).contiguous()
        return place_spikes(activities, self.config.steps_per_observation, self.config.place_gain, self._beta)

    def _modulator(
        self, reward: Tensor, counts: Tensor, terminated: Tensor, observations: np.ndarray
    ) -> tuple[Tensor, int]:
        """The third factor ``[N]``, zero where a step does not count; and how many rewards were skipped."""
        config = self.config
        if config.modulator != "td_error":
            prediction = config.prediction if config.modulator == "reward_prediction" else RewardPrediction(rate=0.0)
            outcome = reward_prediction_error(reward[None], self._mean_reward, prediction, counts[None])
            self._mean_reward = outcome.mean
            return outcome.error[0], outcome.num_skipped
        cleaned, num_skipped = finite_or_zero(torch.where(counts, reward, 0).unsqueeze(0), "reward")
        later = (self._firing_rates(_tensor(observations)) @ self.critic_weights).masked_fill(terminated, 0)
        error = cleaned[0] + config.gamma * later - self._rates @ self.critic_weights
        return error.masked_fill(~(counts & torch.isfinite(reward)), 0), num_skipped

    def _learn_values(self, error: Tensor, begins: Tensor) -> None:
        """One step of TD(lambda), summed over environments."""
        config = self.config
        kept = config.gamma * decay_factor(config.rule.tau_e, config.steps_per_observation * config.dt)
        self._critic_trace = (kept * self._critic_trace).masked_fill(begins.unsqueeze(1), 0) + self._rates
        scale = config.critic_lr / self._rates.square().sum(dim=1).clamp_min(1e-6)
        self.critic_weights.copy_(self.critic_weights + (error * scale) @ self._critic_trace)

    def _teaching(self, activities: Tensor, steps: int) -> Tensor:
        """The teacher's current ``[1, N, O]``."""
        targets = self._teacher[activities.argmax(dim=1)].unsqueeze(0)
        return teacher_current(targets, self.num_actions, self.config.teacher, steps).repeat_interleave(
            self.config.neurons_per_action, dim=-1
        )

    def _checked_teacher(self, actions: np.ndarray | None) -> Tensor:
        if actions is None:
            if self.config.teach:
                raise UserError("a teacher needs the right actions", "give teacher_actions, or set teach=false")
            return torch.full((self.num_cells,), -1)
        actions = np.asarray(actions)
        if actions.shape != (self.num_cells,) or not np.issubdtype(actions.dtype, np.integer):
            wanted = f"one integer for each of {self.num_cells} place cells"
            raise UserError(f"teacher_actions are {actions.dtype}{list(actions.shape)}", wanted)
        if actions.min() < -1 or actions.max() >= self.num_actions:
            wrong = actions.min() if actions.min() < -1 else actions.max()
            raise UserError(f"teacher_actions has {wrong}", f"actions are 0 to {self.num_actions - 1}, -1 is none")
        return torch.from_numpy(actions.astype(np.int64))


def _tensor(observations: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(observations, np.float32))


def _sizes(observation_space: gym.Space, action_space: gym.Space, config: RStdp) -> tuple[int, int]:
    """I and A."""
    spiking, several = config.encoding == "spikes", isinstance(observation_space, FlatSpace)
    axes = 2 if spiking else 1
    if several or not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != axes:
        if spiking:
            raise UserError(f"input neurons cannot take spikes from {observation_space}", "a Box [K, I] is needed")
        remedy = "let environment.kwargs say observation place_cells"
        raise UserError(f"place cells cannot see {observation_space}", remedy)
    if spiking and (given := observation_space.shape[0]) != config.steps_per_observation:
        problem = f"observations have spikes of {given} simulation steps, not of {config.steps_per_observation}"
        raise UserError(problem, f"set steps_per_observation={given}")
    if bool((observation_space.low < 0).any()):
        raise UserError(f"activities of place cells are not negative, got {observation_space}", "rectify them")
    if not isinstance(action_space, gym.spaces.Discrete) or action_space.start != 0:
        raise UserError(f"action neurons cannot choose in {action_space}", "a Discrete(n, start=0) is needed")
    return observation_space.shape[-1], int(action_space.n)
