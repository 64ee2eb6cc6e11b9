"""Callbacks for RLlib's algorithms."""

from synrl_ray.callbacks.plasticity import PlasticityCallback

__all__ = ["PlasticityCallback"]
