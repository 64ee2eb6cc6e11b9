"""Frames as coloured half blocks, for a terminal without a display, such as one of another machine."""

from __future__ import annotations

import os
import select
import shutil
import sys
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.evaluation.playing import Frame
from synrl_ray.watching.controls import Controls
from synrl_ray.watching.keys import HELP, press
from synrl_ray.watching.live import Moment

_HALF = "\N{UPPER HALF BLOCK}"


class Terminal:
    """Draws frames where the cursor stands, two pixels for each character; needs a terminal of 24-bit colours.

    Raises:
        UserError: if standard output is no terminal.
    """

    def __init__(self, controls: Controls) -> None:
        if not sys.stdout.isatty():
            raise UserError("standard output is no terminal", "watch it elsewhere: --on page")
        self._controls = controls
        self._before: Any = None
        if sys.stdin.isatty() and os.name == "posix":
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        sys.stdout.write("\x1b[?25l\x1b[2J")  # no cursor, an empty screen

    def show(self, frame: Frame, moment: Moment) -> None:
        """Draw it, with a line below."""
        columns, lines = shutil.get_terminal_size()
        rows = half_blocks(frame, columns, lines - 2)
        words = f"{moment.words()}  ({HELP})"[: columns - 1]
        sys.stdout.write("\x1b[H" + "\n".join(f"{row}\x1b[K" for row in (*rows, words)) + "\x1b[J")
        sys.stdout.flush()

    def listen(self) -> None:
        """Keys."""
        while self._before is not None and select.select([sys.stdin], [], [], 0)[0]:
            key = os.read(sys.stdin.fileno(), 1).decode("ascii", "ignore")
            if not key:  # standard input has ended
                return
            press(self._controls, key)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
        sys.stdout.write("\x1b[0m\x1b[?25h\n")
        sys.stdout.flush()


def half_blocks(frame: Frame, columns: int, lines: int) -> list[str]:
    """A picture as lines of text: the upper half of each character in the colour of one pixel, the lower of another.

    Args:
        frame: ``[H, W, 3]``, RGB.
        columns, lines: the most that the text may take; the picture keeps its shape.
    """
    from PIL import Image

    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * lines / height)
    size = (max(1, int(width * scale)), max(2, int(height * scale) // 2 * 2))
    pixels = Image.fromarray(frame).resize(size, Image.Resampling.BOX).tobytes()
    stride = 3 * size[0]
    rows = []
    for top in range(0, len(pixels), 2 * stride):
        cells = []
        for left in range(top, top + stride, 3):
            upper, lower = pixels[left : left + 3], pixels[left + stride : left + stride + 3]
            cells.append("\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*upper, *lower) + _HALF)
        rows.append("".join(cells) + "\x1b[0m")
    return rows
