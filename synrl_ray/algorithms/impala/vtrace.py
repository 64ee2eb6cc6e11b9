"""V-trace: targets for values and advantages from what older weights have done.

Legend: T environment steps of the fragment, N environments.
"""

from __future__ import annotations

import numpy as np

from synrl_ray.sampling.rollout import Floats, Rollout


def vtrace(
    rollout: Rollout,
    values: np.ndarray,
    ratios: np.ndarray,
    *,
    gamma: float,
    gae_lambda: float = 1.0,
    rho_clip: float = 1.0,
    c_clip: float = 1.0,
) -> tuple[Floats, Floats]:
    r"""Value targets and advantages ``[T, N]``, all environments at once; 0 and the value where a step is not valid.

    .. math::
        \delta_t &= \rho_t (r_t + \gamma (1 - d_t) V(x_{t+1}) - V(x_t)), \qquad
        \rho_t = \min(\bar\rho, w_t), \quad c_t = \lambda \min(\bar c, w_t) \\
        v_t - V(x_t) &= \delta_t + \gamma (1 - e_t) c_t (v_{t+1} - V(x_{t+1})) \\
        A_t &= r_t + \gamma (1 - d_t) V(x_{t+1}) - V(x_t) + \gamma \lambda (1 - e_t) (v_{t+1} - V(x_{t+1}))

    ``d`` is one after termination only, ``e`` after termination and truncation. With the weights that acted
    (:math:`w = 1`) the advantages are those of :func:`synrl_ray.sampling.rollout.advantages`, and with
    :math:`\lambda = 1` the paper's, whose factor :math:`\rho_t` is left to the caller.

    Args:
        rollout: rewards, ends and valid steps are read.
        values: of the weights that learn, ``[T + 1, N]``; the last row is of what followed the fragment.
        ratios: w, of the probabilities of the actions under the weights that learn and those that acted, ``[T, N]``.
        gamma: discount.
        gae_lambda: decay of the traces.
        rho_clip, c_clip: bounds on the ratios.

    Returns:
        Targets v and advantages A.

    References:
        Espeholt et al. (2018), "IMPALA: scalable distributed deep-RL with importance weighted actor-learner
        architectures", arXiv:1802.01561, eq. 1 and remarks 1 and 2.
    """
    values, ratios = values.astype(np.float64), ratios.astype(np.float64)
    goes_on = gamma * ~(rollout.terminated | rollout.truncated)
    errors = rollout.rewards + gamma * np.where(rollout.terminated, 0, values[1:]) - values[:-1]
    rho, c = np.minimum(rho_clip, ratios), gae_lambda * np.minimum(c_clip, ratios)
    corrections, advantages = np.zeros_like(errors), np.zeros_like(errors)
    correction = np.zeros_like(errors[0])
    for t in range(len(errors) - 1, -1, -1):
        following = goes_on[t] * correction
        correction = np.where(rollout.valid[t], rho[t] * errors[t] + c[t] * following, 0)
        corrections[t] = correction
        advantages[t] = np.where(rollout.valid[t], errors[t] + gae_lambda * following, 0)
    return (values[:-1] + corrections).astype(np.float32), advantages.astype(np.float32)
