import pickle
from pathlib import Path

import pytest

from synrl_ray.errors import NonFiniteError, UserError, told_of


def test_message_and_remedy_are_one_line():
    assert str(UserError("the lamp is off", "switch it on")) == "the lamp is off — switch it on"


def test_error_without_remedy_is_its_message():
    assert str(UserError("the lamp is off")) == "the lamp is off"


def test_what_is_quoted_is_put_on_the_line():
    error = UserError("the space Box([0.\n 1.], float32) is odd", "wrap\r\nit")
    assert str(error) == "the space Box([0.  1.], float32) is odd — wrap it"


def test_exit_status_is_two():
    assert UserError.exit_code == 2


def test_non_finite_error_names_tensor_and_place():
    error = NonFiniteError("batch 'obs'", "module 'default_policy'")
    assert str(error).startswith("batch 'obs' is not finite (module 'default_policy') — ")
    assert isinstance(error, UserError)


@pytest.mark.parametrize(
    "error",
    [
        UserError("a", "b"),
        UserError("only a"),
        NonFiniteError("batch 'obs'", "module 'm'"),
        NonFiniteError("loss", "minibatch 3 (of 8)"),
        NonFiniteError("output (mean)", "module 'm'"),
    ],
    ids=lambda error: error.message,
)
def test_error_survives_the_way_between_processes(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (back.message, back.remedy) == (error.message, error.remedy)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("/tmp/x/policy.json is damaged", "a.synrl/policy.json is damaged"),
        ("/tmp/x is no policy", "a.synrl is no policy"),
        ("it lies in '/tmp/x'", "it lies in 'a.synrl'"),
        ("/tmp/xylophone/z is missing", "/tmp/xylophone/z is missing"),
    ],
)
def test_what_is_wrong_is_told_of_what_the_user_has_named(message, told):
    with pytest.raises(UserError) as caught, told_of("a.synrl", Path("/tmp/x")):
        raise UserError(message, "pack /tmp/x again")
    assert (caught.value.message, caught.value.remedy) == (told, "pack a.synrl again")
    with pytest.raises(UserError) as caught, told_of("a\x1b[31m\n.synrl", Path("/tmp/x")):
        raise UserError("/tmp/x is damaged")
    assert caught.value.message == "a?[31m .synrl is damaged"
