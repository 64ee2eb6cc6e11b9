"""``inspect.stack`` without lines of source, in the tests' processes.

RLlib looks at its caller's frame in each of the dozens of connectors that an algorithm has. It takes the whole stack
for that, with lines of source: for each frame that is of no file, all modules are looked through. Below pytest, whose
stack is deep, this was most of the time that building an algorithm took.
"""

from __future__ import annotations

import inspect
import sys


def frames(context: int = 1) -> list[inspect.FrameInfo]:
    """The caller's frame and those above it, as ``inspect.stack(0)`` has them."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        code = frame.f_code
        found.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
        frame = frame.f_back
    return found


inspect.stack = frames
