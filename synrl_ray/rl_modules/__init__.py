"""RLlib modules around the policies' networks."""

from synrl_ray.policies.config import AnnPolicy, SpikingPolicy
from synrl_ray.rl_modules.actor_critic import ActorCriticModule

__all__ = ["ActorCriticModule", "AnnPolicy", "SpikingPolicy"]
