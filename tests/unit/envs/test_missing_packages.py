"""Which missing package an environment's error is about, however deep it lies."""

import pytest

from synrl_ray.envs.make import _INSTALLED_BY, _missing, make_environment
from synrl_ray.errors import UserError

KNOWN = sorted(_INSTALLED_BY)[0]


def raised(outer, inner, *, explicit):
    try:
        try:
            raise inner
        except Exception as error:
            if explicit:
                raise outer from error
            raise outer  # noqa: B904 (the context is what is looked at)
    except Exception as error:
        return error


@pytest.mark.parametrize("explicit", [True, False])
def test_the_package_is_found_behind_other_errors(explicit):
    found = raised(RuntimeError("cannot be made"), ImportError("no module", name=KNOWN), explicit=explicit)
    assert _missing(found) == KNOWN
    assert _missing(raised(ValueError("again"), found, explicit=explicit)) == KNOWN


def test_other_modules_and_other_errors_are_nobodys():
    assert _missing(None) is None
    assert _missing(ImportError("no module", name="a_module_of_the_users")) is None
    assert _missing(ImportError("no module")) is None
    assert _missing(ValueError(KNOWN)) is None


@pytest.mark.parametrize(("name", "says"), [(KNOWN, f"needs {KNOWN}, which is not installed"), ("x", "cannot be made")])
def test_only_what_is_known_to_be_needed_comes_with_its_remedy(monkeypatch, name, says):
    def fail(*given, **rest):
        raise ImportError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("synrl_ray.envs.make.gym.make", fail)
    with pytest.raises(UserError, match=f"environment 'CartPole-v1' {says}") as caught:
        make_environment("CartPole-v1", {})
    assert (_INSTALLED_BY[KNOWN] in str(caught.value)) == (name == KNOWN)
