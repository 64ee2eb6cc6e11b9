"""RLlib's SAC on a :class:`~synrl_ray.algorithms.off_policy.replay.Replay`."""

from __future__ import annotations

from ray.rllib.algorithms.sac import SAC as RLlibSAC

from synrl_ray.algorithms.off_policy.algorithm import ReplayAlgorithm


class ReplaySAC(ReplayAlgorithm, RLlibSAC):
    """RLlib's SAC, with our replay."""
