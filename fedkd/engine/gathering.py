"""Calls that take turns in one process, and meet where their work can be done at once.

Each call runs in a thread of its own, but only one of them at a time: it runs until it has some
work that could be done for several (`meet`), and waits there while the next call runs. Once all of
them wait or have ended, the work of those that came with the same key is done in one go, and they
go on in order. What happens is thus a function of the calls and their order alone.

A thread that waits leaves the global random generators to the others as it found them, and finds
them again as it left them.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from ..rng import Globals

T = TypeVar("T")
Work = Callable[[list[Any]], list[Any]]
"""Does the work of several at once: items to results, in that order."""


class _Ended(BaseException):
    """Ends a call whose gathering was given up; no ``except Exception`` holds it back."""


class Turn(Generic[T]):
    """One of the calls.

    Parameters
    ----------
    call : callable
        What it does.
    states : Globals
        The global generators that it starts with.
    """

    def __init__(self, call: Callable[[], T], states: Globals) -> None:
        self.call, self.states = call, states
        self.result: T
        self.error: BaseException | None = None
        self.wants: tuple[Hashable, Any, Work] | None = None
        self.answer: Any = None
        self.idle = 0.0  # seconds that others took
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        _TURN.set(self)
        try:
            if not self._ended:
                self.result = self.call()
        except BaseException as error:
            self.error = error
        finally:
            self._back.release()

    def advance(self) -> None:
        """Let the call run until it waits or ends."""
        self.wants = None
        self.states.put_back()
        self._go.release()
        self._back.acquire()

    def wait(self, key: Hashable, item: Any, work: Work) -> Any:
        """Wait, inside the call, until the work is done; return its result."""
        since = time.perf_counter()
        self.wants, self.answer = (key, item, work), None
        self.states = Globals.now()
        self._back.release()
        self._go.acquire()
        self.idle += time.perf_counter() - since
        if self._ended:
            raise _Ended
        return self.answer

    def end(self) -> None:
        """End the call where it waits, if it still does."""
        self._ended = True
        self._go.release()
        self._thread.join()


_TURN: ContextVar[Turn[Any] | None] = ContextVar("turn", default=None)


def gathered(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Return the calls' results; raise what the first of them raised that failed.

    Examples
    --------
    >>> def double(items):
    ...     print(f"at once: {items}")
    ...     return [2 * item for item in items]
    >>> gathered([lambda k=k: meet("double", k, double) + 1 for k in range(3)])
    at once: [0, 1, 2]
    [1, 3, 5]
    """
    outside = Globals.now()
    turns = [Turn(call, outside) for call in calls]
    try:
        for turn in turns:
            turn.advance()
        while waiting := [turn for turn in turns if turn.wants]:
            _answer(waiting)
            for turn in waiting:
                turn.advance()
    finally:
        for turn in turns:
            turn.end()
        outside.put_back()
    for turn in turns:
        if turn.error is not None:
            raise turn.error
    return [turn.result for turn in turns]


def _answer(waiting: Sequence[Turn[Any]]) -> None:
    """Do the work that calls wait for, those with the same key together."""
    groups: dict[Hashable, list[Turn[Any]]] = {}
    for turn in waiting:
        assert turn.wants
        groups.setdefault(turn.wants[0], []).append(turn)
    for group in groups.values():
        wanted = [turn.wants for turn in group if turn.wants]
        group[0].states.put_back()  # torch is as strict as the calls wish
        began = time.perf_counter()
        answers = wanted[0][2]([item for _, item, _ in wanted])
        share = (time.perf_counter() - began) / len(group)
        for turn, answer in zip(group, answers, strict=True):
            turn.answer = answer
            turn.idle -= share


def meet(key: Hashable, item: Any, work: Work) -> Any:
    """Return what `work` makes of `item`, together with others of the same key if there are any.

    Outside of `gathered` there are none. `work` must not draw from global generators, and what it
    raises ends all calls.
    """
    turn = _TURN.get()
    return work([item])[0] if turn is None else turn.wait(key, item, work)


def seconds() -> float:
    """Return a clock that stands still while a call waits, but for its share of common work."""
    turn = _TURN.get()
    return time.perf_counter() - (turn.idle if turn else 0.0)
