"""Damage to files, of bytes and of JSON values: functions of a random generator, so that each can be repeated."""

import copy
import json
import struct

import numpy as np

VALUES = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, -1e-300, 1e400, -1e400, float("nan")),
    *("", " ", "nan", "1", "../..", "/dev/zero", "x" * 3000, "\ud800", "\x00", "a\nb\x1b[31m", "\u202eevil"),
    *([], {}, [[]], [1, "2", None], {"a": 1}, [0] * 5000, {"": {}}),
]  # fmt: skip
DEEP = "[" * 100_000


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Damaged bytes; of what is JSON, or begins with a header of JSON, more often the values than the bytes."""
    if rng.random() < 0.65:
        for change in (_json_changed, _lines_changed, _header_changed):
            try:
                return change(content, rng)
            except (ValueError, IndexError, struct.error):
                continue
    return _bytes_changed(content, rng)


def _bytes_changed(content: bytes, rng: np.random.Generator) -> bytes:
    position, other = sorted(int(i) for i in rng.integers(0, len(content) + 1, 2))
    kind = rng.integers(8)
    if kind == 0:
        return content[:position]
    if kind == 1:
        return content[:position] + content[other:]
    if kind == 2:
        return content[:position] + rng.bytes(int(rng.integers(1, 40))) + content[position:]
    if kind == 3:
        return content[:other] + content[position:]
    if kind == 4:
        return content[:position] + bytes(other - position) + content[other:]
    if kind == 5:
        return b""
    if kind == 6:
        return DEEP.encode()
    changed = bytearray(content)
    for index in rng.integers(0, len(content), rng.integers(1, 6)) if content else ():
        changed[index] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _json_changed(content: bytes, rng: np.random.Generator) -> bytes:
    return json.dumps(_value_changed(json.loads(content), rng)).encode()


def _lines_changed(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.splitlines()
    index = int(rng.integers(len(lines)))
    lines[index] = _json_changed(lines[index], rng)
    return b"\n".join(lines) + b"\n"


def _header_changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Of a safetensors file: eight bytes with the header's length, and the header."""
    (length,) = struct.unpack("<Q", content[:8])
    header = _json_changed(content[8 : 8 + length], rng)
    claimed = len(header) if rng.random() < 0.9 else int(rng.integers(0, 2**40))
    return struct.pack("<Q", claimed) + header + content[8 + length :]


def _value_changed(value: object, rng: np.random.Generator) -> object:
    """With one value replaced, one key lost, renamed or new, or one number scaled."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places or rng.random() < 0.03:
        return _nasty(rng)
    holder, key = places[rng.integers(len(places))]
    kind = rng.integers(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[str(_nasty(rng))[:50]] = holder.pop(key)
    elif kind == 2 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * [-1, 1000, 10**9, 0.5][rng.integers(4)]
    elif kind == 3 and isinstance(holder[key], list):
        holder[key] = holder[key] * int(rng.integers(2, 50))
    else:
        holder[key] = _nasty(rng)
    return value


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _nasty(rng: np.random.Generator) -> object:
    return copy.deepcopy(VALUES[rng.integers(len(VALUES))])
