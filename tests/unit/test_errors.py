import pickle

import pytest

from synrl_ray.errors import NonFiniteError, UserError


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
