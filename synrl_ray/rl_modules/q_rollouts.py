"""The RLlib module of Q-learning on rollouts."""

from __future__ import annotations

from synrl_ray.policies.q_network import QNetwork, check_rolled_out
from synrl_ray.rl_modules.actor_critic import ActorCriticModule
from synrl_ray.settings.policies import PolicyConfig


class QRolloutModule(ActorCriticModule):
    """A module around a :class:`~synrl_ray.policies.q_network.QNetwork`, for ``synrl_ray``'s own PQN.

    Raises:
        UserError: if the spaces cannot be served, or the policy has layers of a critic's own.
    """

    def make_network(self, config: PolicyConfig) -> QNetwork:
        """The network of that configuration, for the module's spaces."""
        check_rolled_out(self.observation_space, self.action_space, config)
        return QNetwork(self.observation_space, self.action_space, config)
