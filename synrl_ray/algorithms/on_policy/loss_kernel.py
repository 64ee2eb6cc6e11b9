"""Losses from rollouts on discrete actions and their gradient, in one compiled pass; ``losses.py`` has the equations.

Legend: M steps, A actions.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_fused


@jit_fused
def loss(
    logits_MA, values_M, actions_M, old_logp_M, advantages_M, targets_M, clip_param, value_coeff, entropy_coeff,
    grad_logits_MA, grad_values_M,
):  # fmt: skip
    """Fill the gradients of the total loss and return the terms (policy, value, entropy), means over M.

    PPO's clipped objective; the plain policy gradient where ``old_logp_M`` is ``None``, which is compiled apart.
    """
    num_steps, num_actions = logits_MA.shape
    policy_sum, value_sum, entropy_sum = 0.0, 0.0, 0.0
    logp = np.empty(num_actions, np.float64)
    for m in range(num_steps):
        highest = logits_MA[m, 0]
        for a in range(1, num_actions):
            highest = max(highest, logits_MA[m, a])
        total = 0.0
        for a in range(num_actions):
            logp[a] = np.float64(logits_MA[m, a]) - highest
            total += np.exp(logp[a])
        shift = np.log(total)
        entropy = 0.0
        for a in range(num_actions):
            logp[a] -= shift
            entropy -= np.exp(logp[a]) * logp[a]
        action, advantage = actions_M[m], np.float64(advantages_M[m])
        slope = 0.0
        if old_logp_M is None:
            slope = -advantage
            policy_sum -= logp[action] * advantage
        else:
            ratio = np.exp(logp[action] - old_logp_M[m])
            free = ratio * advantage
            clipped = min(max(ratio, 1 - clip_param), 1 + clip_param) * advantage
            # Where the clipped term is the smaller one, the ratio is outside and the gradient zero. NaN goes on as NaN.
            if not clipped < free:
                slope = -free
            policy_sum -= clipped if clipped < free else free
        error = np.float64(values_M[m]) - targets_M[m]
        value_sum += error * error
        entropy_sum += entropy
        grad_values_M[m] = 2 * value_coeff * error / num_steps
        for a in range(num_actions):
            p = np.exp(logp[a])
            chosen = 1.0 if a == action else 0.0
            grad_logits_MA[m, a] = (slope * (chosen - p) + entropy_coeff * p * (logp[a] + entropy)) / num_steps
    return policy_sum / num_steps, value_sum / num_steps, entropy_sum / num_steps
