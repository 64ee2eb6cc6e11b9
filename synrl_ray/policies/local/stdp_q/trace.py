r"""Eligibility of a table's synapses, where one synapse of each row is tagged in every decision.

.. math:: e_{n,t} = \lambda_e\, e_{n,t-1} + \text{STDP}_{n,t}\, \mathbf 1_{(s_t, a_t)}
          \quad\text{(accumulating)}

With *replacing* traces the tag of a synapse takes the place of its older ones. As only the newest tags matter, the last
L of them are kept with their synapses, ``[N, L]``, in place of the dense ``[N, S, A]``.

Legend: N environments, L tags, M synapses.
"""

from __future__ import annotations

import torch
from torch import Tensor


class TagTrace:
    """An eligibility trace as a list of the latest tags.

    Args:
        num_rows: N.
        num_synapses: M.
        length: L; older tags are forgotten.
        decay: what is left of a tag after each decision.
        replacing: whether a new tag takes the place of the synapse's older ones.
    """

    def __init__(self, num_rows: int, num_synapses: int, length: int, decay: float, replacing: bool) -> None:
        self.num_synapses, self.decay, self.replacing = num_synapses, decay, replacing
        self.synapses = torch.zeros(num_rows, length, dtype=torch.int64)
        self.tags = torch.zeros(num_rows, length, dtype=torch.float64)
        self._slot = 0

    def clear(self, rows: Tensor) -> None:
        """Forget all tags of some rows ``[N]`` of bool."""
        self.tags.masked_fill_(rows.unsqueeze(1), 0)

    def add(self, synapses: Tensor, tags: Tensor) -> None:
        """Let a decision's time pass, then tag one synapse of each row; both ``[N]``."""
        self.tags *= self.decay
        if self.replacing:
            self.tags.masked_fill_(self.synapses == synapses.unsqueeze(1), 0)
        self.synapses[:, self._slot], self.tags[:, self._slot] = synapses, tags
        self._slot = (self._slot + 1) % self.tags.shape[1]

    def gated(self, modulator: Tensor, rows: Tensor) -> Tensor:
        r"""Change of every synapse, ``[M]``: eligibility times modulator, over the rows that count.

        .. math:: \Delta_m = \frac{\sum_n m_n\, e_{nm}}{\max(1, \sum_n |e_{nm}|)}

        It is the sum while few rows share a synapse and turns into the mean where many do, so that the step does not
        grow with the number of environments.

        Args:
            modulator: third factor ``[N]``.
            rows: ``[N]`` of bool.
        """
        synapses, tags = self.synapses[rows], self.tags[rows]
        return pooled(synapses.flatten(), (modulator[rows].unsqueeze(1) * tags).flatten(), tags.abs().flatten(),
                      self.num_synapses)  # fmt: skip

    def norm(self) -> float:
        """Euclidean norm of a row's eligibility, averaged over rows."""
        num_rows = self.tags.shape[0]
        offset = torch.arange(num_rows).unsqueeze(1) * self.num_synapses
        places, where = torch.unique(self.synapses + offset, return_inverse=True)
        dense = torch.zeros(len(places), dtype=torch.float64).index_add_(0, where.flatten(), self.tags.flatten())
        squares = torch.zeros(num_rows, dtype=torch.float64)
        return float(squares.index_add_(0, places // self.num_synapses, dense.square()).sqrt().mean())


def pooled(synapses: Tensor, changes: Tensor, weights: Tensor, num_synapses: int) -> Tensor:
    """Changes ``[n]`` of synapses ``[n]``, summed, and divided by the sum of their weights ``[n]`` where above 1."""
    total = torch.bincount(synapses, changes, num_synapses)
    return total / torch.bincount(synapses, weights, num_synapses).clamp_min_(1.0)
