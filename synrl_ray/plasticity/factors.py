"""The four factors of every STDP rule here, its spike traces between fragments, and what weighs a step's pairs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Factors(NamedTuple):
    r"""What a rule makes of the spikes of a fragment.

    Step t changes the weight from i to o, in row b, by

    .. math:: x_{tbi}\,p_{tbo} - d_{tbi}\,y_{tbo}

    The gains are zero where no spike is.
    """

    pre_trace: Tensor
    """x ``[T, B, I]``"""
    post_trace: Tensor
    """y ``[T, B, O]``"""
    pre_gain: Tensor
    """d ``[T, B, I]``: amplitude of depression where the presynaptic neuron fired"""
    post_gain: Tensor
    """p ``[T, B, O]``: amplitude of potentiation where the postsynaptic neuron fired"""


class STDPState(NamedTuple):
    """Spike traces after the last simulation step; the slow ones belong to triplets."""

    pre: Tensor
    """``[B, I]``"""
    post: Tensor
    """``[B, O]``"""
    pre_slow: Tensor | None = None
    """``[B, I]``"""
    post_slow: Tensor | None = None
    """``[B, O]``"""


class Modulation(NamedTuple):
    """How much of each step's pairs goes into the weights, and into the eligibility after the last step."""

    scale: Tensor
    """``[T, B]``, into the weights"""
    left: Tensor
    """``[T, B]``, into the eligibility after the last step"""
    eligibility: Tensor
    """``[B, I, O]`` before the first step"""
    kept: Tensor
    """``[B]``: how much of that goes into the weights"""
    kept_left: Tensor
    """``[B]``: how much of it is left after the last step"""
