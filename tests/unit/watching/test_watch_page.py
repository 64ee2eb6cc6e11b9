"""The page on loopback: who may see it, what it streams, what its buttons do."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import synrl_ray
from synrl_ray.errors import UserError
from synrl_ray.watching.controls import Controls
from synrl_ray.watching.live import Moment
from synrl_ray.watching.page import Page

FRAME = np.full((24, 32, 3), 200, np.uint8)


@pytest.fixture
def page() -> Iterator[Page]:
    with closing(Page(Controls(), "<a policy>")) as found:
        yield found


def asked(page: Page, method: str, path: str, body: str | None = None) -> tuple[int, http.client.HTTPMessage, str]:
    place = urlsplit(page.url)
    assert place.hostname == "127.0.0.1"
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=30)) as connection:
        connection.request(method, path if path.startswith("/") else place.path + path, body)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def test_only_who_knows_the_address_sees_anything(page: Page):
    for path in ("/", "/state", "/stream", f"/{page.secret[:-1]}/"):
        assert asked(page, "GET", path)[0] == 404
        assert asked(page, "POST", path, "do=pause")[0] == 404
    assert not page.controls.is_paused
    assert asked(page, "GET", "anything")[0] == 404


def test_the_page_needs_nothing_from_elsewhere_and_names_the_policy(page: Page):
    status, headers, text = asked(page, "GET", "")
    assert status == 200
    assert "<h1>&lt;a policy&gt;</h1>" in text
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "//" not in text.replace("<!doctype html>", ""), "no address of another place"


def test_frames_are_streamed_and_nothing_is_played_while_nobody_looks(page: Page):
    shown = threading.Event()

    def show() -> None:
        page.show(FRAME, Moment(3, 1, 2.0))
        shown.set()

    threading.Thread(target=show, daemon=True).start()
    assert not shown.wait(0.3)
    place = urlsplit(page.url)
    with closing(http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)) as connection:
        connection.request("GET", place.path + "stream")
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        assert response.readline() == b"--frame\r\n"
        assert response.readline() == b"Content-Type: image/jpeg\r\n"
        size = int(response.readline().split()[1])
        response.readline()
        assert Image.open(io.BytesIO(response.read(size))).size == (32, 24)
        assert shown.wait(30)
    assert json.loads(asked(page, "GET", "state")[2])["words"] == "seed 3  step 1  return 2"


def test_buttons(page: Page):
    assert json.loads(asked(page, "POST", "ask", "do=pause&value=")[2])["paused"] is True
    assert json.loads(asked(page, "POST", "ask", "do=speed&value=4")[2])["speed"] == 4.0
    assert asked(page, "POST", "ask", "do=next&value=11")[0] == 200
    assert page.controls.take_seed(0) == 11
    wrong = ("", "do=", "do=format", "do=speed&value=nan", "do=speed", "do=next&value=-1", "do=next&value=x", "do=\xff")
    for body in wrong:
        assert asked(page, "POST", "ask", body)[0] == 400, body
    assert page.controls.speed == 4.0


def test_a_port_that_is_taken_is_named(page: Page):
    port = urlsplit(page.url).port
    assert port is not None
    with pytest.raises(UserError, match=rf"port {port} cannot be used .*--port"):
        Page(Controls(), "another", port)


def test_what_does_not_act_cannot_be_watched():
    with pytest.raises(UserError, match="only what acts can be watched"):
        synrl_ray.watch("experiments/results/mnist-binary/spiking")
    with pytest.raises(UserError, match="is no port"):
        synrl_ray.watch("experiments/results/cartpole-ppo/spiking", port=70_000)
    with pytest.raises(UserError, match=r"--seed -1 is too small"):
        synrl_ray.watch("experiments/results/cartpole-ppo/spiking", seed=-1)


def test_a_window_without_a_display_is_refused(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"no display .*--on page"):
        synrl_ray.watch("experiments/results/cartpole-ppo/spiking", on="window")
