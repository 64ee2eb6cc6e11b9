"""From rows of CarRacing's window to its picture: pygame's ``flip`` and ``smoothscale``, bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import STATE_H, STATE_W, WINDOW_H, WINDOW_W

from synrl_ray.compiled import jit
from synrl_ray.envs.car_racing_polygons import MIXED

State = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Spans:
    """How pygame's ``smoothscale`` divides ``source`` pixels among ``target``, in fixed point with ``bits`` digits."""

    last: np.ndarray
    """The last source pixel of each target, ``[target]``; the next target has a share in it too."""
    share: np.ndarray
    """A target's share in its last source pixel, ``[target]``."""
    reciprocal: np.uint32
    """Of a target's extent, with 16 digits."""
    owner: np.ndarray
    """The first target that each source pixel belongs to, ``[source + 1]``."""

    @classmethod
    def of(cls, source: int, target: int, bits: int) -> Spans:
        """Divide ``source`` among ``target``."""
        one = 1 << bits
        extent = one * source // target
        last, share = np.zeros(target, np.int64), np.zeros(target, np.uint32)
        left, pixel = extent, 0
        for index in range(target):
            while left > one:
                left -= one
                pixel += 1
            last[index], share[index] = pixel, left
            left += extent - one
            pixel += 1
        owner = np.searchsorted(last, np.arange(source + 1))
        return cls(last, share, np.uint32((one << 16) // extent), owner)


class Shrinking:
    """The window's columns and rows, and those of the picture."""

    def __init__(self) -> None:
        bits = 16 if pygame.transform.get_smoothscale_backend() == "GENERIC" else 14
        columns, rows = Spans.of(WINDOW_W, STATE_W, bits), Spans.of(WINDOW_H, STATE_H, bits)
        self.owner = columns.owner
        self.spans = (
            columns.last, columns.share, columns.reciprocal, rows.last, rows.share, rows.reciprocal, np.uint32(bits)
        )  # fmt: skip


def fresh_state() -> State:
    """What :func:`shrink` carries from rows to the rows below them."""
    return (
        np.zeros((STATE_W, 3), np.uint32),
        np.zeros((STATE_W + 1, 3), np.uint32),
        np.zeros((STATE_W, 3), np.uint32),
        np.full(STATE_W, MIXED),
    )


@jit
def shrink(pixels, cells, begin, spans, state, picture):  # type: ignore[no-untyped-def]
    """Add rows of the window to a picture, with the rounding of ``smoothscale``.

    Args:
        pixels: 0x00RRGGBB, ``[rows, WINDOW_W]``.
        cells: colours of one-coloured targets, or ``MIXED``, ``[rows, >= STATE_W]``.
        begin: the first row's number in the window.
        spans: :attr:`Shrinking.spans`.
        state: :func:`fresh_state`, changed.
        picture: ``[STATE_H, STATE_W, 3]``, changed.
    """
    last_x, share_x, recip_x, last_y, share_y, recip_y, bits = spans
    line, carry, total, plain = state
    sixteen, one = np.uint32(16), np.uint32(1) << bits
    red_blue, byte, eight = np.uint32(0xFF00FF), np.uint32(0xFF), np.uint32(8)
    since = np.zeros(plain.size, np.int64)  # rows of this call that are in ``total``
    j = np.searchsorted(last_y, begin)
    for k in range(len(pixels)):
        for i in range(plain.size):
            kind = cells[k, i]
            if kind == plain[i] and kind != MIXED:
                continue
            for c in range(3):
                total[i, c] += line[i, c] * np.uint32(k - since[i])
            since[i], plain[i] = k, kind
            outer, green, edge = np.uint32(0), np.uint32(0), kind  # red and blue are added up in one word
            begin_x, last = last_x[i - 1] + 1 if i else 0, last_x[i]
            if kind == MIXED:
                for x in range(begin_x, last):
                    outer += pixels[k, x] & red_blue
                    green += (pixels[k, x] >> eight) & byte
                edge = pixels[k, last]
            else:
                outer = (kind & red_blue) * np.uint32(last - begin_x)
                green = ((kind >> eight) & byte) * np.uint32(last - begin_x)
            sums = outer >> sixteen, green, outer & np.uint32(0xFFFF)
            parts = (edge >> sixteen) & byte, (edge >> eight) & byte, edge & byte
            for c in range(3):
                line[i, c] = (sums[c] + (parts[c] * share_x[i] >> bits) + carry[i, c]) * recip_x >> sixteen
                carry[i + 1, c] = parts[c] * (one - share_x[i]) >> bits
        if begin + k == last_y[j]:
            for i in range(plain.size):
                for c in range(3):
                    total[i, c] += line[i, c] * np.uint32(k - since[i])
                    picture[j, i, c] = (total[i, c] + (line[i, c] * share_y[j] >> bits)) * recip_y >> sixteen
                    total[i, c] = line[i, c] * (one - share_y[j]) >> bits
            since[:] = k + 1
            j += 1
    for i in range(plain.size):
        for c in range(3):
            total[i, c] += line[i, c] * np.uint32(len(pixels) - since[i])
