"""CarRacing that draws a frame only when it is asked to, and faster. Importing this needs Box2D and pygame.

Gymnasium draws each frame at 1000 x 800 pixels, some 800 polygons of which a few are in sight, turns it upside down and
shrinks it to 96 x 96. :class:`DrawnFast` leaves the pixels as they are, to the last bit: what is in sight is drawn by
the same rules in the same order, but only where colours meet, pixel by pixel, and one compiled pass does it all. Tracks
and frames of physics take less time as well, and are the same too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pygame
from Box2D import b2BodyDef
from gymnasium.envs.box2d.car_racing import FPS, PLAYFIELD, SCALE, STATE_H, STATE_W, WINDOW_H, WINDOW_W, ZOOM, CarRacing
from gymnasium.utils import EzPickle

from synrl_ray.envs.car_racing_driving import control, push
from synrl_ray.envs.car_racing_polygons import MIXED
from synrl_ray.envs.car_racing_scene import BAR_TOP, Scene
from synrl_ray.envs.car_racing_shrinking import Shrinking, fresh_state, shrink
from synrl_ray.envs.car_racing_track import START_ALPHA, center_line, edges, random_checkpoints

_HIGHEST = 3.9  # of an indicator within the bar, which ends at 4


class DrawnOnDemand(CarRacing):
    """CarRacing whose ``reset`` and ``step`` draw nothing: the observation they return is black.

    :meth:`picture` draws the one that Gymnasium's environment would have returned. All else is as there.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        EzPickle.__init__(self, **kwargs)
        self._stepping = False
        self._score = 0.0
        self.surf: Any
        self._undrawn = np.zeros((STATE_H, STATE_W, 3), np.uint8)

    def picture(self) -> np.ndarray:
        """The newest frame, ``[96, 96, 3]`` of ``uint8``."""
        score, self.reward = self.reward, self._score
        self.state = self._state_pixels()
        self.reward = score
        return self.state

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One frame of physics."""
        self._stepping = True
        try:
            return super().step(action)
        finally:
            self._stepping = False

    def _render(self, mode: str) -> Any:
        if self._stepping and mode == "state_pixels":
            self._score = self.reward  # a frame's bar shows the score from before its cost
            return self._undrawn
        return super()._render(mode)

    def _state_pixels(self) -> np.ndarray:
        return super()._render("state_pixels")


class DrawnFast(DrawnOnDemand):
    """The same pictures, steps and tracks in less time.

    Random colours, and indicators that leave their bar, are left to Gymnasium.

    Args:
        bar: draw the bar of indicators; without it the last 12 rows of a picture mean nothing.
        kwargs: those of CarRacing.
    """

    def __init__(self, *, bar: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        EzPickle.__init__(self, bar=bar, **kwargs)
        self.bar = bar
        self.road: Any
        self._shrinking = Shrinking()
        self._scene: Scene | None = None

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One frame of physics. The first one of an episode, without an action, and videos are left to Gymnasium."""
        if action is None or self.render_mode is not None or not self.continuous:
            return super().step(action)
        assert self.car is not None
        control(self.car, *action.tolist())
        push(self.car, 1.0 / FPS)
        self.world.Step(1.0 / FPS, 6 * 30, 2 * 30)
        self.t += 1.0 / FPS
        self._score = self.reward
        self.reward -= 0.1
        reward, self.prev_reward = self.reward - self.prev_reward, self.reward
        terminated, info = False, {}
        if self.tile_visited_count == len(self.track) or self.new_lap:
            terminated, info = True, {"lap_finished": True}
        x, y = self.car.hull.position
        if abs(x) > PLAYFIELD or abs(y) > PLAYFIELD:
            reward, terminated, info = -100, True, {"lap_finished": False}
        return self._undrawn, reward, terminated, False, info

    def _create_track(self) -> bool:
        checkpoints = random_checkpoints(self.np_random)
        self.start_alpha = START_ALPHA
        self.road = []
        track = center_line(checkpoints)
        if track is None:
            return False
        self.track = [tuple(step) for step in track.tolist()]
        tiles, borders, bordered = edges(track)
        self.fd_tile.isSensor = True
        shape, definition = self.fd_tile.shape, b2BodyDef(fixtures=self.fd_tile)
        for index, (corners, border, has_border) in enumerate(
            zip(tiles.tolist(), borders.tolist(), bordered.tolist(), strict=True)
        ):
            shape.vertices = corners
            tile = self.world.CreateBody(definition)
            tile.userData = tile
            tile.color = self.road_color + 0.01 * (index % 3) * 255
            tile.road_visited = False
            tile.road_friction = 1.0
            tile.idx = index
            self.road.append(tile)
            self.road_poly.append((corners, tile.color))
            if has_border:
                self.road_poly.append((border, (255, 255, 255) if index % 2 == 0 else (255, 0, 0)))
        return True

    def _state_pixels(self) -> np.ndarray:
        assert self.car is not None
        heights = [0.02 * self.car.hull.linearVelocity.length, *(0.01 * wheel.omega for wheel in self.car.wheels)]
        if self.domain_randomize or max(heights) > _HIGHEST:
            return super()._state_pixels()
        if self._scene is None or self._scene.road is not self.road_poly:
            self._scene = Scene(self)
        zoom = 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1)
        picture, state = np.zeros((STATE_H, STATE_W, 3), np.uint8), fresh_state()
        self._scene.paint(self.car.hull, zoom, self._shrinking, state, picture)
        if self.bar:
            pixels = self._draw_bar()
            shrink(pixels, np.full((len(pixels), STATE_W), MIXED), BAR_TOP, self._shrinking.spans, state, picture)
        return picture

    def _draw_bar(self) -> np.ndarray:
        """The pixels of the bar, ``[rows, WINDOW_W]``."""
        self.surf = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        self._render_indicators(WINDOW_W, WINDOW_H)
        pygame.font.init()
        font = pygame.font.Font(pygame.font.get_default_font(), 42)
        text = font.render(f"{int(self.reward):04}", True, (255, 255, 255), (0, 0, 0))
        box = text.get_rect()
        box.center = (60, WINDOW_H - WINDOW_H // 16)
        self.surf.blit(text, box)
        return pygame.surfarray.array2d(self.surf).T[BAR_TOP:].astype(np.uint32)
