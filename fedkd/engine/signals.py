"""Signals wait while Ray is imported and starts."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..ending import ENDING


@contextmanager
def held_signals() -> Iterator[None]:
    """Have the first signal that ends a run wait for the end of the block; a second does not.

    Ray forks its processes when it starts. What a handler raises meanwhile is lost, and may leave
    the lock of ``logging`` taken for good; it is lost in the import of its compiled part, too.
    Ray's own handler of SIGTERM, which raises, too, is only installed where the program has none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before: dict[int, Any] = {n: signal.getsignal(n) for n in ENDING}
    ours = [number for number, handler in before.items() if callable(handler)]

    def hold(number: int, frame: Any) -> None:
        held.append(number)
        if len(held) > 1:
            before[number](number, frame)

    for number in ours:
        signal.signal(number, hold)
    try:
        import ray

        utils: Any = ray._private.utils
        rays_own = utils.set_sigterm_handler
        if signal.SIGTERM in ours:
            utils.set_sigterm_handler = lambda handler: None
        try:
            yield
        finally:
            utils.set_sigterm_handler = rays_own
    finally:
        for number in ours:
            signal.signal(number, before[number])
        if held:
            go_on()
            before[held[0]](held[0], None)


def go_on() -> None:
    """Have Ray's C++ side, which hears SIGTERM for a moment, not abort 3 seconds later."""
    if hasattr(signal, "alarm") and threading.current_thread() is threading.main_thread():
        signal.alarm(0)
