"""IDX, byte by byte as its description has it: zero, zero, type code, rank, big-endian sizes, data."""

import struct

import numpy as np
import pytest

from synrl_ray.data.mnist import _parse_idx


def test_labels_are_a_vector():
    parsed = _parse_idx(b"\x00\x00\x08\x01" + b"\x00\x00\x00\x03" + bytes([7, 0, 255]))
    assert parsed.dtype == np.uint8
    assert parsed.tolist() == [7, 0, 255]


def test_images_are_read_row_by_row():
    parsed = _parse_idx(b"\x00\x00\x08\x03" + struct.pack(">3I", 2, 2, 3) + bytes(range(12)))
    assert parsed.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


def test_sizes_are_big_endian():
    parsed = _parse_idx(b"\x00\x00\x08\x02" + b"\x00\x00\x01\x00" + b"\x00\x00\x00\x01" + bytes(256))
    assert parsed.shape == (256, 1)


@pytest.mark.parametrize("header", [b"\x00\x01\x08\x01", b"\x00\x00\x0d\x01", b"\x1f\x8b\x08\x01"])
def test_header_of_another_format_is_refused(header):
    with pytest.raises(ValueError, match="not an IDX file of bytes"):
        _parse_idx(header + b"\x00\x00\x00\x00")


def test_data_that_do_not_fill_the_shape_are_refused():
    with pytest.raises(ValueError, match="reshape"):
        _parse_idx(b"\x00\x00\x08\x01" + b"\x00\x00\x00\x03" + bytes(2))
