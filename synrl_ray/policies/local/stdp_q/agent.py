r"""A Q-table that is a spiking layer, learned by TD errors and by reward-modulated STDP at once.

The weights :math:`w_{sa}` from S input neurons to A action neurons are action values, in units of return. A state makes
its input neuron fire; :mod:`synrl_ray.policies.local.stdp_q.layer` has what follows. Noise current into a random neuron
makes it fire first: with probability epsilon. After the environment's step both rules see the same TD error:

.. math::
    \delta_n &= r_n + \gamma\,(1 - d_n) \max_a w_{s'_n a} - w_{s_n a_n} \\
    e_n &\leftarrow \lambda_e\, e_n + \text{STDP}(s_n, a_n), \qquad \lambda_e = e^{-K\,dt/\tau_e} \\
    \Delta w &= \eta\, P[\delta, x] + c\, P[\delta, e], \qquad
    P[\delta, e]_{sa} = \frac{\sum_n \delta_n e_{n,sa}}{\max(1, \sum_n |e_{n,sa}|)}

where x is 1 at the pair of state and action that was just taken, and d says that the episode was terminated: one that
was truncated bootstraps. All environments n see the weights from before the step. An episode starts with an empty
trace.

**What the STDP term amounts to.** One input neuron fires, and one action neuron after it: STDP tags the pair that was
taken with :math:`A_+ e^{-\Delta t/\tau_+}`, and the trace remembers the tags of the pairs before it. Gated by the TD
error that is the trace of Watkins's Q(lambda), with :math:`\lambda_e` for :math:`\gamma\lambda`
(``cut_at_exploration=False``: the naive one), whose tags are smaller where the decision was slow, hence less clear. A
constant tag is worth as much (docs/results.md). Nothing else in a lookup table can be learned from spike times.

References:
    Watkins (1989), Learning from delayed rewards, PhD thesis, Cambridge. Sutton & Barto (2018), Reinforcement Learning:
    An Introduction, 2nd edition, section 12.10. Frémaux & Gerstner (2016), doi:10.3389/fncir.2015.00085, on TD errors
    as third factor.

Legend: N environments, S states, A actions, K simulation steps.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synrl_ray.errors import UserError
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.policies.local.stdp_q.layer import (
    Decision,
    action_currents,
    decide,
    decision_stdp,
    exploration_current,
    shuffled,
)
from synrl_ray.policies.local.stdp_q.trace import TagTrace, pooled
from synrl_ray.settings.stdp_q import StdpQ

logger = logging.getLogger(__name__)


class StdpQAgent(LocalAgent):
    """Q-learning and reward-modulated STDP on one spiking layer; the equations stand at the top of the module.

    Args:
        observation_space: ``Discrete(S)``, states.
        action_space: ``Discrete(A)``.
        config: settings.

    Attributes:
        weight: ``[S, A]`` of float64, a buffer: the action values.

    Raises:
        UserError: for other spaces.
        ValueError: in :meth:`act` and :meth:`greedy`, for an observation that is no state.

    Example:
        >>> agent = StdpQAgent(spaces.Discrete(3), spaces.Discrete(2), StdpQ(initial_value=1.0))
        >>> agent.greedy(np.arange(3)).tolist()
        [0, 0, 0]
    """

    plastic_names = ("weight",)
    weight: Tensor

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, config: StdpQ) -> None:
        super().__init__()
        size = (_size(observation_space, "observations"), _size(action_space, "actions"))
        self.config = config
        self.register_buffer("weight", torch.full(size, config.initial_value, dtype=torch.float64))
        self._trace: TagTrace | None = None
        self._pairs = torch.zeros(0, dtype=torch.int64)
        self._env_steps = 0
        self._forget_counts()

    def act(self, observations: np.ndarray, starts: np.ndarray, steps: int, generator: torch.Generator) -> np.ndarray:
        """Let the layer decide, tag the synapses that took part; the contract is :meth:`LocalAgent.act`."""
        config, states = self.config, self._states(observations)
        currents = action_currents(self.weight[states], config)
        explores = torch.rand(len(states), generator=generator) < config.epsilon_at(steps)
        random = torch.randint(currents.shape[1], (len(states),), generator=generator)
        explores &= random != currents.argmax(dim=1)
        driven = torch.where(explores.unsqueeze(1), exploration_current(currents, random), currents)
        decision = decide(driven, config)
        self._count_spikes(decision)
        trace = self._trace_of(len(states))
        trace.clear(torch.from_numpy(starts) | (explores & config.cut_at_exploration))
        self._pairs = states * currents.shape[1] + decision.winner
        trace.add(self._pairs, self.tags(decision, generator))
        self._env_steps = steps
        return decision.winner.numpy()

    def tags(self, decision: Decision, generator: torch.Generator) -> Tensor:
        """What STDP makes of each row's decision, ``[N]``; controls in ``benchmarks`` have others."""
        seen = shuffled(decision, generator) if self.config.shuffle_spikes else decision
        return decision_stdp(seen, self.config.stdp, self.config.dt)

    def learn(
        self,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        valid: np.ndarray,
        observations: np.ndarray,
    ) -> None:
        """Apply both terms; the contract is :meth:`LocalAgent.learn`."""
        finite = np.isfinite(rewards)
        self._skip(int((valid & ~finite).sum()))
        rows = torch.from_numpy(valid & finite)
        if not rows.any():
            return
        assert self._trace is not None, "act() comes before learn()"
        config = self.config
        reward = torch.from_numpy(np.where(finite, rewards, 0.0)).to(self.weight)
        best_next = self.weight[self._states(observations)].amax(dim=1)
        best_next.masked_fill_(torch.from_numpy(terminated), 0)
        td_error = reward + config.gamma * best_next - self.weight.view(-1)[self._pairs]

        pairs, error = self._pairs[rows], td_error[rows]
        change = config.lr_at(self._env_steps) * pooled(pairs, error, torch.ones_like(error), self.weight.numel())
        self._sizes[0] += float(change.abs().sum())
        factor = config.stdp_weight_at(self._env_steps)
        if factor > 0:
            modulator = td_error if config.modulator == "td_error" else reward
            stdp_change = factor * self._trace.gated(modulator, rows)
            self._sizes[1] += float(stdp_change.abs().sum())
            change += stdp_change
        self.weight += change.view_as(self.weight)
        self._td_errors += (float(error.abs().sum()), len(error))

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """The neurons that fire first without noise; equal to the argmax of the weights."""
        states = [self._states(part) for part in self.in_parts(np.asarray(observations))]
        currents = (action_currents(self.weight[part], self.config) for part in states)
        return np.concatenate([decide(current, self.config).winner.numpy() for current in currents])

    @property
    def numbers_per_observation(self) -> int:
        """Spikes and membranes in all simulation steps."""
        return 4 * self.config.steps_per_observation * self.weight.shape[1]

    def spike_counts(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """Of action neurons; each state's neuron fires once for its state."""
        return {"action neurons": np.bincount(self.greedy(observations), minlength=self.weight.shape[1])}

    def diagnostics(self) -> dict[str, float]:
        """What happened since the last call.

        ``stdp_share``: absolute weight change by the STDP term, as a share of that by both. ``td_error``: mean absolute
        TD error, in units of return. ``trace_norm``: of the eligibility, averaged over environments. ``spike_rate``: of
        action neurons, in Hz. ``spike_latency``: from the state's spike to the action's, in ms. ``silent_neurons``:
        action neurons that never fired. ``skipped_rewards``: those that were not finite. ``weight_min``,
        ``weight_max``, ``weight_mean``: in units of return.
        """
        num_spikes = max(1.0, float(self._spikes.sum()))
        neuron_ms = max(1.0, self._decisions * self.config.decision_time * self.weight.shape[1])
        values = {
            "stdp_share": self._sizes[1] / max(self._sizes.sum(), 1e-300),
            "td_error": self._td_errors[0] / max(1.0, self._td_errors[1]),
            "trace_norm": self._trace.norm() if self._trace else 0.0,
            "spike_rate": 1000 * float(self._spikes.sum()) / neuron_ms,
            "spike_latency": self._latency / num_spikes,
            "silent_neurons": float((self._spikes == 0).sum()),
            "skipped_rewards": float(self._skipped),
            "weight_min": float(self.weight.min()),
            "weight_max": float(self.weight.max()),
            "weight_mean": float(self.weight.mean()),
        }
        self._forget_counts()
        return {name: float(value) for name, value in values.items()}

    def _states(self, observations: np.ndarray) -> Tensor:
        states = torch.as_tensor(np.asarray(observations, np.int64))
        if len(states) and (int(states.min()) < 0 or int(states.max()) >= self.weight.shape[0]):
            raise ValueError(f"observations must be states from 0 to {self.weight.shape[0] - 1}, got {observations}")
        return states

    def _trace_of(self, num_envs: int) -> TagTrace:
        if self._trace is None or len(self._trace.tags) != num_envs:
            config = self.config
            replacing = config.trace == "replacing"
            self._trace = TagTrace(num_envs, self.weight.numel(), config.trace_length, config.trace_decay, replacing)
        return self._trace

    def _count_spikes(self, decision: Decision) -> None:
        fired = decision.post_spikes.sum(dim=1)
        self._spikes += fired.sum(dim=0)
        self._latency += self.config.dt * float(fired.sum(dim=1) @ torch.arange(len(fired), dtype=fired.dtype))
        self._decisions += len(decision.winner)

    def _skip(self, number: int) -> None:
        if number and not self._skipped:
            logger.warning("reward is not finite in %d environment(s): the update is skipped", number)
        self._skipped += number

    def _forget_counts(self) -> None:
        self._sizes, self._td_errors = np.zeros(2), np.zeros(2)
        self._spikes = torch.zeros(self.weight.shape[1], dtype=torch.float64)
        self._latency, self._decisions, self._skipped = 0.0, 0, 0


def _size(space: spaces.Space, kind: str) -> int:
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise UserError(f"a Q-table has no room for the {kind} {space}", "take Discrete(n, start=0)")
    return int(space.n)
