"""Whatever a plug-in raises, it has failed: ``sys.exit`` in one is not the end of a good run.

What Python raises besides ``Exception`` (``SystemExit``, ``GeneratorExit``, a plug-in's own) passes
every ``except Exception``. Only an interrupt means what it says.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import FedkdError, RunError


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
