"""One file for sharing: what goes in comes out, and nothing of a stranger's does any harm."""

from __future__ import annotations

import http.server
import shutil
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import synrl_ray
from synrl_ray.errors import UserError
from synrl_ray.policies import packing
from synrl_ray.policies.packing import unpacked
from synrl_ray.results import read_result
from synrl_ray.running.card import card

COMMITTED = Path(synrl_ray.__file__).parents[1] / "experiments" / "results" / "cartpole-ppo" / "spiking"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    out = tmp_path / "cartpole.synrl"
    assert synrl_ray.pack(COMMITTED, out, licence="CC BY 4.0") == out.stat().st_size
    return out


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """An address of the folder on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_packed_policy_acts_as_the_one_that_was_packed(packed: Path) -> None:
    with served(packed.parent) as address:
        places = [COMMITTED, packed, str(packed), f"{address}/{packed.name}"]
        policies = [synrl_ray.load_policy(place) for place in places]
    observations = np.random.default_rng(0).uniform(-1, 1, (64, 4)).astype(np.float32)
    first, *others = (policy.act(observations, policy.initial_state(64))[0].tolist() for policy in policies)
    assert all(actions == first for actions in others)


def test_a_packed_policy_is_judged_as_its_folder(packed: Path) -> None:
    judged = synrl_ray.evaluate(packed, episodes=2).result
    assert (judged.figures["return_mean"], judged.run, judged.experiment) == (500.0, str(packed), "cartpole-ppo")


def test_its_card_says_what_it_is_and_under_which_licence(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert set(archive.namelist()) == {"policy.json", "policy.safetensors", "result.json", "config.json", "card.md"}
        text = archive.read("card.md").decode()
    for line in (
        "# cartpole-ppo: spiking",
        "CartPole-v1 with PPO.",
        "CC BY 4.0",
        "$ synrl train cartpole-ppo --seeds 5",
    ):
        assert line in text.splitlines()


def test_the_same_policy_is_packed_to_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.synrl"
    synrl_ray.pack(COMMITTED, again, licence="CC BY 4.0")
    assert again.read_bytes() == packed.read_bytes()


def test_what_a_result_says_is_no_markdown() -> None:
    result = read_result(COMMITTED)
    assert result is not None
    assert result.provenance is not None
    made = replace(result.provenance, command="rm\n```\n# z")
    text = card(replace(result, experiment="<b>[x](y)</b>\n# y", provenance=made))
    assert text.startswith("# \\<b\\>\\[x\\](y)\\</b\\> \\# y: spiking\n")
    assert "\n$ rm # z\n```\n" in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.write_bytes(b"no zip"), "is damaged|is no packed policy"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "is damaged|is no packed policy"),
        (lambda file: file.unlink(), "there is no .*cartpole.synrl"),
        (lambda file: rewritten(file, {"policy.json": None}), "holds no policy"),
        (lambda file: rewritten(file, {"policy.safetensors": b"x"}), "is damaged"),
        (lambda file: rewritten(file, {"policy.json": b"{" * 100_000}), "is damaged"),
    ],
)
def test_what_is_no_packed_policy_is_told_in_a_line(packed: Path, change, told: str) -> None:
    change(packed)
    with pytest.raises(UserError, match=told):
        synrl_ray.load_policy(packed)


def test_what_is_wrong_in_a_packed_policy_is_told_of_its_file(packed: Path) -> None:
    rewritten(packed, {"policy.json": b"{"})
    with pytest.raises(UserError) as caught:
        synrl_ray.load_policy(packed)
    assert caught.value.message.startswith(f"{packed}/policy.json is damaged")
    assert caught.value.args[0] == caught.value.message


def rewritten(file: Path, changes: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | changes
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize("at", range(40, 400, 40))
def test_a_byte_that_was_changed_is_told_in_a_line(packed: Path, at: int) -> None:
    content = bytearray(packed.read_bytes())
    content[at] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        synrl_ray.load_policy(packed)


def test_other_names_are_not_written_and_bombs_not_unpacked(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewritten(packed, {"../evil": b"x", "/tmp/evil": b"x", "policy.pkl": b"x", "a/policy.json": b"x"})
    with unpacked(packed) as folder:
        assert {path.name for path in folder.rglob("*")} == {
            "policy.json",
            "policy.safetensors",
            "result.json",
            "config.json",
        }
        assert not (folder.parent / "evil").exists()
    monkeypatch.setattr(packing, "_MOST_BYTES", 10_000)
    with pytest.raises(UserError, match="larger than a GiB"):
        synrl_ray.load_policy(packed)


def test_a_folder_may_have_such_a_name_and_an_address_more_than_a_path(tmp_path: Path) -> None:
    shutil.copytree(COMMITTED, tmp_path / "run.synrl")
    assert synrl_ray.load_policy(tmp_path / "run.synrl") is not None
    assert packing.is_packed("https://host/a.synrl?download=true")
    assert not packing.is_packed("s3://bucket/a.synrl/run")


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
def test_a_server_that_makes_no_sense_is_told_in_a_line(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        threading.Thread(target=answer_once, daemon=True).start()
        with pytest.raises(UserError, match="cannot be fetched"):
            synrl_ray.load_policy(f"http://127.0.0.1:{server.getsockname()[1]}/a.synrl")


def test_more_than_is_borne_is_not_fetched(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_MOST_BYTES", 10_000)
    with served(packed.parent) as address, pytest.raises(UserError, match=r"cannot be fetched.*larger than a GiB"):
        synrl_ray.load_policy(f"{address}/{packed.name}")


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x.synrl", "file:///etc/x.synrl", "http://127.0.0.1:1/x.synrl", "http://h/a b.synrl"]
)
def test_what_cannot_be_fetched_is_told_in_a_line(url: str) -> None:
    with pytest.raises(UserError, match="cannot be fetched"):
        synrl_ray.load_policy(url)


def test_what_is_too_large_together_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_MOST_BYTES", (COMMITTED / "policy.safetensors").stat().st_size)
    with pytest.raises(UserError, match="is larger than a GiB"):
        synrl_ray.pack(COMMITTED, tmp_path / "x.synrl")
    assert not (tmp_path / "x.synrl").exists()


def test_nothing_is_packed_over_what_is_there_nor_under_another_name(packed: Path, tmp_path: Path) -> None:
    before = packed.read_bytes()
    with pytest.raises(UserError, match="exists"):
        synrl_ray.pack(COMMITTED, packed)
    assert packed.read_bytes() == before
    with pytest.raises(UserError, match="let its name end in"):
        synrl_ray.pack(COMMITTED, tmp_path / "x.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no result"):
        synrl_ray.pack(tmp_path / "empty", tmp_path / "x.synrl")
