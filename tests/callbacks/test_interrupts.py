"""A signal to end ends a run, whatever the code that it interrupts makes of it."""

import signal

import pytest

from fedkd.callbacks.interrupts import Interrupts


@pytest.fixture(autouse=True)
def raising():
    """Have Ctrl-C raise, also where the tests were started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def importing(told: bool) -> None:
    """Fail as an import does that falls back on another when it is interrupted."""
    try:
        if told:
            signal.raise_signal(signal.SIGINT)
    except BaseException:
        pass
    raise ModuleNotFoundError("No module named 'version'")


def test_an_interrupt_that_became_another_error_is_one() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        importing(told=True)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ModuleNotFoundError), Interrupts():
        importing(told=False)
