"""The stack of images as convolutions on a CPU want it: the channels of a pixel side by side, written in one pass."""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from synrl_ray.compiled import jit


@jit
def stack_pixels(frames, kept, stacks):
    """Write stacks ``[E, B, P, A, C]`` of A frames, oldest first, from frames ``[E + A - 1, B, C, P]``.

    Zeros where ``kept [E, B, A]`` is false.
    """
    num_steps, batch, num_pixels, size, num_channels = stacks.shape
    for step in range(num_steps):
        for row in range(batch):
            stack = stacks[step, row].reshape(-1)
            for age in range(size):
                for channel in range(num_channels):
                    frame = frames[step + age, row, channel]
                    first, every = age * num_channels + channel, size * num_channels
                    if kept[step, row, age]:
                        for pixel in range(num_pixels):
                            stack[first + pixel * every] = frame[pixel]
                    else:
                        for pixel in range(num_pixels):
                            stack[first + pixel * every] = 0
