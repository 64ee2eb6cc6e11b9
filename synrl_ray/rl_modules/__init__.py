"""RLlib modules around the policies' networks."""

from synrl_ray.rl_modules.actor_critic import ActorCriticModule
from synrl_ray.rl_modules.catalog import SpikingCatalog
from synrl_ray.rl_modules.q_network import QModule
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

__all__ = ["ActorCriticModule", "AnnPolicy", "QModule", "SpikingCatalog", "SpikingPolicy"]
