"""A page of this machine: frames as they are played, and what to ask for."""

from __future__ import annotations

import io
import json
import math
import secrets
import threading
from contextlib import suppress
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from synrl_ray.errors import UserError, reason_of
from synrl_ray.evaluation.playing import Frame
from synrl_ray.watching.controls import Controls
from synrl_ray.watching.live import Moment

_HOST = "127.0.0.1"
_PART = b"frame"
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
_SECONDS = 1.0


class Page:
    """Serves the newest frame to whoever knows the address, which no other site can guess, on loopback.

    Nothing is played while nobody looks.

    Args:
        controls: what the page's buttons turn.
        title: what is played.
        port: any that is free where it is 0.

    Raises:
        UserError: if the port is taken.
    """

    def __init__(self, controls: Controls, title: str, port: int = 0) -> None:
        self.controls, self.title = controls, title
        self.secret = secrets.token_urlsafe(16)
        self.moment: Moment | None = None
        self.viewers = 0
        self.news = threading.Condition()
        self.picture = b""
        self.number = 0
        try:
            self._server = _Server((_HOST, port), _Handler)
        except OSError as error:
            raise UserError(f"port {port} cannot be used ({reason_of(error)})", "name another one by --port") from error
        self._server.page = self
        self.url = f"http://{_HOST}:{self._server.server_address[1]}/{self.secret}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def show(self, frame: Frame, moment: Moment) -> None:
        """Send a frame to all who look, and wait for one who does."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=90)
        with self.news:
            self.picture, self.moment = buffer.getvalue(), moment
            self.number += 1
            self.news.notify_all()
            while not self.viewers and not self.controls.is_closed:
                self.news.wait(_SECONDS)

    def listen(self) -> None:
        """Buttons speak for themselves."""

    def close(self) -> None:
        """End the page."""
        self.controls.close()
        with self.news:
            self.news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def state(self) -> dict[str, Any]:
        """What the page says beside the frame."""
        return {
            "words": "" if self.moment is None else self.moment.words(),
            "paused": self.controls.is_paused,
            "speed": self.controls.speed,
        }

    def ask(self, form: dict[str, list[str]]) -> None:
        """Do what a button says.

        Raises:
            ValueError: for what none of them says.
        """
        wanted, value = form["do"][0], form.get("value", [""])[0]
        if wanted == "pause":
            self.controls.toggle_pause()
        elif wanted == "speed":
            speed = float(value)
            if not math.isfinite(speed):
                raise ValueError(speed)
            self.controls.faster(speed / self.controls.speed)
        elif wanted == "next":
            seed = int(value) if value else None
            if seed is not None and not 0 <= seed < 2**31:
                raise ValueError(seed)
            self.controls.next_episode(seed)
        else:
            raise ValueError(wanted)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    page: Page


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Page, stream or state."""
        page = self.server.page
        match self._wanted():
            case "":
                text = files("synrl_ray.watching").joinpath("page.html").read_text(encoding="utf-8")
                self._answer("text/html; charset=utf-8", text.replace("{title}", escape(page.title)).encode())
            case "state":
                self._answer("application/json", json.dumps(page.state()).encode())
            case "stream":
                self._stream(page)
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """A button."""
        page = self.server.page
        if self._wanted() != "ask":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            length = min(1000, max(0, int(self.headers.get("Content-Length", 0))))
            page.ask(parse_qs(self.rfile.read(length).decode("ascii")))
        except (ValueError, KeyError):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        self._answer("application/json", json.dumps(page.state()).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""

    def _wanted(self) -> str | None:
        """What is asked for; ``None`` for whoever does not know the address."""
        path = urlsplit(self.path).path
        known = f"/{self.server.page.secret}/"
        return path.removeprefix(known) if path.startswith(known) else None

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, page: Page) -> None:
        """Frame after frame, as parts of one answer that replace one another; those that come too fast are left out."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_PART.decode()}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        shown = 0
        with page.news:
            page.viewers += 1
            page.news.notify_all()
        try:
            with suppress(OSError):  # whoever looked has gone
                while not page.controls.is_closed:
                    with page.news:
                        if page.number == shown:
                            page.news.wait(_SECONDS)
                        shown, picture = page.number, page.picture
                    if picture:  # sent again while nothing moves, which tells whether anybody looks
                        self.wfile.write(b"--%b\r\nContent-Type: image/jpeg\r\n" % _PART)
                        self.wfile.write(b"Content-Length: %d\r\n\r\n%b\r\n" % (len(picture), picture))
        finally:
            with page.news:
                page.viewers -= 1
