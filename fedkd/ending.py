"""What ends a run: Ctrl-C, a polite kill, a terminal that is closed, and what a plug-in raises.

A signal that is ignored when a program starts, as under ``nohup``, stays ignored. A reader that has
gone, as ``head`` in a pipe, ends nothing.

Whatever a plug-in raises, it has failed: ``sys.exit`` in one is not the end of a good run. What
Python raises besides ``Exception`` (``SystemExit``, ``GeneratorExit``, a plug-in's own) passes
every ``except Exception``. Only an interrupt means what it says.
"""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .errors import FedkdError, RunError

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


def is_interrupt(error: BaseException) -> bool:
    """Tell whether somebody wants the process to end: Ctrl-C, or SIGTERM where Ray handles it.

    Examples
    --------
    >>> is_interrupt(KeyboardInterrupt()), is_interrupt(SystemExit(0))
    (True, False)
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1:]
    by_ray = any(str(frame.f_globals.get("__name__")).startswith("ray.") for frame in frames)
    return isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and by_ray)


@contextmanager
def contained() -> Iterator[None]:
    """Have what passes every ``except Exception`` be a ``RuntimeError``, but for an interrupt.

    Examples
    --------
    >>> with contained():
    ...     raise SystemExit(0)
    Traceback (most recent call last):
        ...
    RuntimeError: SystemExit: 0
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


@contextmanager
def ends_in_words() -> Iterator[None]:
    """Have whatever is raised be a `FedkdError` with one line, but for an interrupt.

    Examples
    --------
    >>> @ends_in_words()
    ... def run():
    ...     raise ZeroDivisionError("nobody is left")
    >>> run()
    Traceback (most recent call last):
        ...
    fedkd.errors.RunError: ZeroDivisionError: nobody is left
    """
    try:
        yield
    except FedkdError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise RunError(" ".join(f"{type(error).__name__}: {error}".split())) from error
