"""What a plug-in promises, and what came of it: the parts of ``fedkd check``."""

import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..ending import contained
from ..engine.host import one_thread
from ..errors import ConfigError, FedkdError
from ..rng import Globals, scoped


class Broken(Exception):
    """A promise is broken; the text shows how."""


class Skipped(Exception):
    """A promise does not apply; the text says why."""


@dataclass(frozen=True)
class Promise:
    """What a plug-in must do.

    Parameters
    ----------
    name : str
        One word or two.
    claim : str
        What holds, as the end of a sentence about the plug-in.
    test : callable
        Takes what is checked; returns a remark (``""`` for none), or raises `Broken` or `Skipped`.
    vital : bool
        Whether the promises after it cannot be tested without it.
    """

    name: str
    claim: str
    test: Callable[[Any], str]
    vital: bool = False

    def judge(self, subject: Any, given: Collection[str] = ()) -> "Verdict":
        """Test it; whatever the plug-in raises breaks it, but for what the user has given.

        Raises
        ------
        ConfigError
            If one of the keys `given` is refused.
        """
        try:
            with contained():
                return Verdict(self, True, self.test(subject))
        except Skipped as reason:
            return Verdict(self, None, str(reason))
        except (Broken, FedkdError) as reason:
            if isinstance(reason, ConfigError) and reason.key in given:
                raise
            return Verdict(self, False, " ".join(str(reason).split()))
        except Exception as error:
            return Verdict(self, False, raised(error))


@dataclass(frozen=True)
class Verdict:
    """What came of testing a promise: held, broken, or (None) not tested; and a remark."""

    promise: Promise
    held: bool | None
    remark: str = ""


def raised(error: Exception) -> str:
    """Return what was raised, and on which line.

    Examples
    --------
    >>> raised(KeyError("teacher"))
    "raised KeyError: 'teacher'"
    """
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in last)
    return " ".join(f"raised {type(error).__name__}: {error}{where}".split())


def checked(
    subject: Any, suite: tuple[Promise, ...], given: Collection[str] = ()
) -> Iterator[Verdict]:
    """Test one promise after the other; without a vital one, the rest is not tested.

    `given` are the keys that the user has set, see `Promise.judge`.
    """
    missing = ""
    with one_thread():  # as in a run
        for promise in suite:
            if missing:
                yield Verdict(promise, None, f"not tested, see {missing}")
                continue
            verdict = promise.judge(subject, given)
            if promise.vital and not verdict.held:
                missing = promise.name
            yield verdict


@contextmanager
def aside(what: str, seed: int = 0) -> Iterator[None]:
    """Break the promise if what is done inside draws from, or seeds, a global generator."""
    with scoped(seed):
        before = Globals.now()
        yield
        if not Globals.now().same(before):
            raise Broken(f"{what} draws from (or seeds) a global random generator")


@contextmanager
def untouched(what: str, **given: Tensor) -> Iterator[None]:
    """Break the promise if one of these tensors is changed inside."""
    before = {name: value.detach().clone() for name, value in given.items()}
    yield
    for name, value in given.items():
        if not same(value, before[name]):
            raise Broken(f"{what} changes {name}")


def same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are alike; NaN, another promise's fault, is like NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def expect(held: object, problem: str) -> None:
    """Break the promise unless something holds."""
    if not held:
        raise Broken(problem)
