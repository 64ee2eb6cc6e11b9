"""Spike traces, STDP and reward-modulated STDP on plain torch tensors. Knows nothing of Ray or environments.

The settings are in :mod:`synrl_ray.settings.plasticity`. What to look for where:

- ``stdp``: :func:`~synrl_ray.plasticity.stdp.stdp` proposes a fragment's change by pair or triplet STDP;
  ``pairing`` has the equations and the initial state, ``traces`` the traces.
- ``reward_modulated``: the same with eligibility traces and a modulator; ``modulation`` makes one from rewards.
- ``changes``: what both add up, from lists of spikes (``events``) or by dense products.
- ``bounds``: ``apply_delta`` adds a proposed, or merged, change to the weights, within bounds.
- ``teacher``: current into the neuron that should fire. ``homeostasis``: thresholds that follow a firing rate.

Conventions: time-major ``[T, B, N]``, weights ``[I, O]`` shared by the batch, eligibility ``[B, I, O]``; traces are
updated before pairing; ``reset_mask [T, B]`` zeroes a row's state before that step, as in :mod:`synrl_ray.snn`.
"""
