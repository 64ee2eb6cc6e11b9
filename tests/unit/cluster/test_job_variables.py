"""Variables of a job: given on the command line, or taken from the environment."""

from __future__ import annotations

import pytest

from synrl_ray.cluster.job_variables import job_variables
from synrl_ray.errors import UserError


def test_values_are_given_or_taken_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "from here")
    assert job_variables(["A=1", "B=", "C=x=y", "TOKEN"]) == {"A": "1", "B": "", "C": "x=y", "TOKEN": "from here"}
    assert job_variables([]) == {}


def test_what_is_missing_is_named_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(UserError, match=r"^--env TOKEN: no variable of that name is set here — write TOKEN=VALUE"):
        job_variables(["TOKEN"])
    with pytest.raises(UserError, match="a value without a name") as caught:
        job_variables(["=secret"])
    assert "secret" not in str(caught.value)
