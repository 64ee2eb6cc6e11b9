"""From CarRacing's window to its picture: pygame's ``flip`` and ``smoothscale`` in one compiled pass, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import STATE_H, STATE_W, WINDOW_H, WINDOW_W

from synrl_ray.compiled import jit_checked

BAR_TOP = WINDOW_H * 7 // 8  # the bar of indicators hides what is below
_STRETCH = 12  # targets; 125 pixels
_MIXED = np.uint32(0xFFFFFFFF)  # no colour


class Canvas:
    """The window-sized surfaces, and the way from them to a picture."""

    def __init__(self) -> None:
        self.scene = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        self.bar = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        bits = 16 if pygame.transform.get_smoothscale_backend() == "GENERIC" else 14
        self.columns = _spans(WINDOW_W, STATE_W, bits)
        self.rows = _spans(WINDOW_H, STATE_H, bits)
        self.bits = np.uint32(bits)
        self._wiped = (0, 0, 0)

    def wipe(self, color: Sequence[float] | np.ndarray) -> None:
        """Fill the scene with a colour (red, green, blue), unless :meth:`shrink` has left it so."""
        color = (int(color[0]), int(color[1]), int(color[2]))
        if color != self._wiped:
            self.scene.fill(color)
            self._wiped = color

    def shrink(self, bar: bool) -> np.ndarray:
        """The picture ``[96, 96, 3]`` of scene and bar; the scene is wiped again."""
        picture = np.zeros((STATE_H, STATE_W, 3), np.uint8)
        _shrink(
            pygame.surfarray.pixels2d(self.scene).T,
            pygame.surfarray.pixels2d(self.bar).T,
            np.uint32(self.scene.map_rgb(self._wiped)),
            *self.columns,
            *self.rows,
            self.bits,
            picture if bar else picture[: STATE_H * BAR_TOP // WINDOW_H],
        )
        return picture


def _spans(source: int, target: int, bits: int) -> tuple[np.ndarray, np.ndarray, np.uint32]:
    """How pygame's ``smoothscale`` divides ``source`` pixels among ``target``, in fixed point with ``bits`` digits.

    Returns:
        For each target its last source pixel and that one's share in it, ``[target]``; and the reciprocal of a
        target's extent, with 16 digits.
    """
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
    return last, share, np.uint32((one << 16) // extent)


@jit_checked
def _shrink(scene, bar, background, last_x, share_x, recip_x, last_y, share_y, recip_y, bits, picture):  # type: ignore[no-untyped-def]
    """``flip`` and ``smoothscale`` of pygame with their rounding, and the scene wiped on the way.

    Pixels are 0x00RRGGBB. A row is taken in stretches; most are of one colour, the same as in the row before.
    """
    sixteen = np.uint32(16)
    one = np.uint32(1) << bits
    width = last_x.size
    line, carry = np.zeros(3 * width, np.uint32), np.zeros(3 * width + 3, np.uint32)
    total = np.zeros(3 * width, np.uint32)
    plain, plain_stretch = np.full(width, _MIXED), np.full(width // _STRETCH, _MIXED)
    y = 0
    for j in range(picture.shape[0]):
        while y <= last_y[j]:
            row = scene[scene.shape[0] - 1 - y] if y < BAR_TOP else bar[y]
            begin, before = 0, row[0]
            for stretch in range(plain_stretch.size):
                end = last_x[_STRETCH * stretch + _STRETCH - 1] + 1
                pixels = row[begin:end]
                color, before = before, pixels[-1]  # the last pixel before a stretch is shared with it
                other = np.uint32(0)
                for x in range(pixels.size):
                    other |= pixels[x] ^ color
                kind = color if other == 0 else _MIXED
                if kind == _MIXED or kind != plain_stretch[stretch]:
                    plain_stretch[stretch] = kind
                    _shrink_stretch(pixels, color, stretch, last_x, share_x, recip_x, bits, carry, line, plain)
                if y < BAR_TOP and kind != background:
                    pixels[:] = background
                begin = end
            if y < last_y[j]:
                for k in range(total.size):
                    total[k] += line[k]
            else:
                share = share_y[j]
                for i in range(width):
                    for c in range(3):
                        k = 3 * i + c
                        picture[j, i, c] = (total[k] + (line[k] * share >> bits)) * recip_y >> sixteen
                        total[k] = line[k] * (one - share) >> bits
            y += 1


@jit_checked
def _shrink_stretch(pixels, before, stretch, last_x, share_x, recip_x, bits, carry, line, plain):  # type: ignore[no-untyped-def]
    """``line[3 i + c]`` for the targets i of a stretch; ``plain[i]`` is the colour of what they were made of."""
    red_blue, byte, eight, sixteen = np.uint32(0xFF00FF), np.uint32(0xFF), np.uint32(8), np.uint32(16)
    low, one = np.uint32(0xFFFF), np.uint32(1) << bits
    start = last_x[_STRETCH * stretch - 1] + 1 if stretch else 0
    first = 0
    for i in range(_STRETCH * stretch, _STRETCH * stretch + _STRETCH):
        last, share = last_x[i] - start, share_x[i]
        window, edge = pixels[first:last], pixels[last]
        other = (before ^ edge) | (window[0] ^ edge) | (window[window.size - 1] ^ edge)
        for k in range(8):  # a window has 9 or 10 pixels
            other |= window[k + 1] ^ edge
        kind = edge if other == 0 else _MIXED
        first, before = last + 1, edge
        if kind != _MIXED and kind == plain[i]:
            continue
        plain[i] = kind
        outer, green = np.uint32(0), np.uint32(0)  # red and blue are added up in one word
        for x in range(window.size):
            outer += window[x] & red_blue
            green += (window[x] >> eight) & byte
        r, g, b = (edge >> sixteen) & byte, (edge >> eight) & byte, edge & byte
        line[3 * i] = ((outer >> sixteen) + (r * share >> bits) + carry[3 * i]) * recip_x >> sixteen
        line[3 * i + 1] = (green + (g * share >> bits) + carry[3 * i + 1]) * recip_x >> sixteen
        line[3 * i + 2] = ((outer & low) + (b * share >> bits) + carry[3 * i + 2]) * recip_x >> sixteen
        rest = one - share
        carry[3 * i + 3], carry[3 * i + 4], carry[3 * i + 5] = r * rest >> bits, g * rest >> bits, b * rest >> bits
