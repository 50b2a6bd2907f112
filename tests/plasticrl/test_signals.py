import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from plasticrl.signals import PostponedInterrupt, interrupt_once


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def run(*actions: Callable[[], None]) -> None:
    with PostponedInterrupt() as interrupt:
        for number, action in enumerate(actions):
            assert interrupt.pending == (number > 0)
            action()


def test_the_interrupt_comes_when_the_block_ends() -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        run(press_ctrl_c, lambda: reached.append(True))
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_comes_at_once() -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        run(press_ctrl_c, press_ctrl_c, lambda: reached.append(True))
    assert not reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("usual", "after"), [(signal.SIG_DFL, signal.SIG_DFL), (interrupt_once, signal.SIG_IGN)]
)
def test_of_many_sigterms_the_first_counts(usual: Any, after: Any) -> None:
    before = signal.signal(signal.SIGTERM, usual)
    try:
        reached: list[bool] = []
        with pytest.raises(KeyboardInterrupt):
            run(terminate, terminate, lambda: reached.append(True))
        assert reached
        assert signal.getsignal(signal.SIGTERM) is after
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_error_is_not_hidden() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(press_ctrl_c, fail)


def test_another_handler_and_other_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with PostponedInterrupt() as interrupt:
            press_ctrl_c()
            assert not interrupt.pending
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

    handlers = []

    def in_thread() -> None:
        with PostponedInterrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
