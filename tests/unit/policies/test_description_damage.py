"""What is said to be damaged is a file that was read, never the place that something is written to."""

import errno
import os

import pytest

from synrl_ray.errors import UserError
from synrl_ray.policies.description import damage_of


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ENOSPC, errno.EDQUOT])
def test_what_cannot_be_printed_is_no_damage(tmp_path, code):
    with pytest.raises(OSError, match=os.strerror(code)), damage_of(tmp_path / "result.json"):
        raise OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), KeyError("x"), ZeroDivisionError(), UserError("wrong")]
)
def test_what_was_read_is_named(tmp_path, error):
    file = tmp_path / "result.json"
    with pytest.raises(UserError) as caught, damage_of(file):
        raise error
    assert str(caught.value).startswith(f"{file} is damaged (")
    assert caught.value.__cause__ is error
