"""A window, where there is a display."""

from __future__ import annotations

import os
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.evaluation.playing import Frame
from synrl_ray.watching.controls import Controls
from synrl_ray.watching.keys import press
from synrl_ray.watching.live import Moment


class Window:
    """Shows frames in a window of their size; keys as of :mod:`synrl_ray.watching.keys`.

    Raises:
        UserError: if no window can be opened.
    """

    def __init__(self, controls: Controls, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame: Any = pygame
        self._controls, self._title = controls, title
        self._surface: Any = None
        try:
            pygame.display.init()
        except pygame.error as error:
            raise UserError(f"no window can be opened ({error})", "watch it elsewhere: --on page") from error

    def show(self, frame: Frame, moment: Moment) -> None:
        """Draw it."""
        pygame = self._pygame
        height, width = frame.shape[:2]
        if self._surface is None:
            self._surface = pygame.display.set_mode((width, height), pygame.RESIZABLE)
        picture = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        self._surface.blit(pygame.transform.scale(picture, self._surface.get_size()), (0, 0))
        pygame.display.set_caption(f"{self._title}  {moment.words()}")
        pygame.display.flip()

    def listen(self) -> None:
        """Keys, and the button that closes the window."""
        pygame = self._pygame
        for event in pygame.event.get() if self._surface is not None else ():
            if event.type == pygame.QUIT:
                self._controls.close()
            elif event.type == pygame.KEYDOWN:
                press(self._controls, "\x1b" if event.key == pygame.K_ESCAPE else event.unicode)

    def close(self) -> None:
        """Close it."""
        self._pygame.display.quit()
