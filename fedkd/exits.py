"""Whatever a plug-in raises, it has failed: ``sys.exit`` in one is not the end of a good run.

What Python raises besides ``Exception`` (``SystemExit``, ``GeneratorExit``, a plug-in's own) passes
every ``except Exception``. Only an interrupt means what it says.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import FedkdError, RunError


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
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
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
    except (FedkdError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RunError(" ".join(f"{type(error).__name__}: {error}".split())) from error
