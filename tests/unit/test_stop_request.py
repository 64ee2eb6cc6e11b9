import os
import signal
import threading

import pytest

from synrl_ray.interrupt import StopRequest, breakable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_the_second_interrupts(number):
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_breaks_off_what_may_be_broken_off(number):
    with StopRequest() as stop:
        with pytest.raises(KeyboardInterrupt), breakable(), breakable():
            os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.is_first
        with pytest.raises(KeyboardInterrupt), breakable():
            pytest.fail("begun although an end is wanted")
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not stop.is_first


def test_after_what_may_be_broken_off_the_first_signal_is_noted_again():
    with StopRequest() as stop:
        with breakable():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_first


def test_without_a_request_ctrl_c_interrupts_as_ever():
    with pytest.raises(KeyboardInterrupt), breakable():
        os.kill(os.getpid(), signal.SIGINT)
    with StopRequest():
        pass
    with pytest.raises(KeyboardInterrupt), breakable():
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored_even_after_an_error():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def fail():
        with StopRequest():
            assert signal.getsignal(signal.SIGINT) != before[signal.SIGINT]
            raise ValueError("an error")

    with pytest.raises(ValueError, match="an error"):
        fail()
    assert {number: signal.getsignal(number) for number in before} == before


def test_another_thread_leaves_the_handlers_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with StopRequest() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
