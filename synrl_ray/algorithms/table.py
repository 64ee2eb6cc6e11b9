"""The gradient algorithms: settings → what their folder says of them."""

from __future__ import annotations

from synrl_ray.algorithms.a2c.config import A2CConfig
from synrl_ray.algorithms.config import GradientConfig
from synrl_ray.algorithms.dqn.config import DQNConfig
from synrl_ray.algorithms.impala.config import ImpalaConfig
from synrl_ray.algorithms.ppo.config import PPOConfig
from synrl_ray.algorithms.pqn.config import PQNConfig
from synrl_ray.algorithms.reinforce.config import ReinforceConfig
from synrl_ray.algorithms.sac.config import SACConfig
from synrl_ray.settings.algorithms import A2C, DQN, IMPALA, PPO, PQN, SAC, Gradient, Reinforce

CONFIGS: dict[type[Gradient], type[GradientConfig]] = {
    PPO: PPOConfig,
    A2C: A2CConfig,
    Reinforce: ReinforceConfig,
    IMPALA: ImpalaConfig,
    PQN: PQNConfig,
    DQN: DQNConfig,
    SAC: SACConfig,
}
