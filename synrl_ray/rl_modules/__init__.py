"""RLlib modules around the policies' networks."""

from synrl_ray.policies.config import AnnPolicy, SpikingPolicy
from synrl_ray.rl_modules.actor_critic import ActorCriticModule
from synrl_ray.rl_modules.q_network import QModule

__all__ = ["ActorCriticModule", "AnnPolicy", "QModule", "SpikingPolicy"]
