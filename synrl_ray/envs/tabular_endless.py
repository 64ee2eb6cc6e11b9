"""Expected returns without a time limit: what the values of ever longer episodes tend to."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph, linalg

_CERTAIN = 1 - 1e-12


def limit_of_values(matrix: Any, reward: np.ndarray) -> np.ndarray:
    """The expected undiscounted return from each state of a Markov chain.

    Episodes end, or they stay for ever in a closed class of states. In a class without reward nothing more is added;
    one with rewards of one sign makes the return -inf or inf wherever it can be reached from. What remains solves
    ``v = reward + matrix @ v``.

    Args:
        matrix: ``[S, S]``, sparse: the probabilities of going on; a row's sum is below 1 where an episode may end.
        reward: ``[S]``, expected reward of leaving each state.

    Returns:
        ``[S]``; NaN where rewards of both signs are met for ever.
    """
    num_states = len(reward)
    matrix = sparse.csr_array(matrix)
    matrix.eliminate_zeros()
    num_classes, label = csgraph.connected_components(matrix, directed=True, connection="strong")
    entries = matrix.tocoo()
    within = label[entries.row] == label[entries.col]
    stays = np.bincount(entries.row[within], entries.data[within], num_states)
    closed = np.bincount(label, stays < _CERTAIN, num_classes)[label] == 0
    up, down = reaching(matrix, closed & (reward > 0)), reaching(matrix, closed & (reward < 0))

    value = np.zeros(num_states)
    value[up], value[down], value[up & down] = np.inf, -np.inf, np.nan
    solved = np.flatnonzero(~closed & ~up & ~down)
    if len(solved):
        system = sparse.eye_array(len(solved), format="csc") - matrix[solved][:, solved].tocsc()
        value[solved] = linalg.spsolve(system.tocsc(), reward[solved])
    return value


def reaching(matrix: Any, target: np.ndarray) -> np.ndarray:
    """``[S]`` of bool: the states from which a chain ``[S, S]`` may come to a target, the targets included."""
    reached = target.copy()
    while True:
        more = reached | (matrix @ reached.astype(np.float64) > 0)
        if (more == reached).all():
            return reached
        reached = more
