"""The signals that end a run: Ctrl-C, a polite kill, and a terminal that is closed.

One that is ignored when a program starts, as under ``nohup``, stays ignored. A reader that has
gone, as ``head`` in a pipe, ends nothing.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
ENDING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


def end_at_once(signum: int, frame: Any) -> None:
    """End a program that has not begun anything: an import may lose an exception."""
    os.write(2, b"interrupted\n")
    os._exit(1)


def interrupt(signum: int, frame: Any) -> None:
    """Have every signal end a run the way Ctrl-C does."""
    raise KeyboardInterrupt


def heed(handler: Callable[[int, Any], None]) -> None:
    """Have a handler called for all that are not ignored. To be called in the main thread."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def begin() -> None:
    """From now on, interrupt where a program would have ended at once."""
    if any(signal.getsignal(number) is end_at_once for number in ENDING):
        heed(interrupt)


def outlasting(console: Any) -> Any:
    """Have a rich console fall silent once nobody reads it; rich ends the program.

    Parameters
    ----------
    console : rich.console.Console
        Which is returned.
    """

    def fall_silent() -> None:
        console.quiet = True
        with suppress(OSError):  # not every file has a number
            os.dup2(os.open(os.devnull, os.O_WRONLY), console.file.fileno())

    console.on_broken_pipe = fall_silent
    return console
