"""Ends a run that was told to end, even if Python has lost the exception that says so."""

import signal
from contextlib import AbstractContextManager
from typing import Any

from .base import Callback, RoundRecord, RunInfo


class Interrupts(Callback, AbstractContextManager["Interrupts"]):
    """Remembers SIGINT and SIGTERM while it is entered, and passes them on.

    What a signal's handler raises can be lost: in a finaliser or in some places of an import,
    Python prints "Exception ignored" and goes on. A run with this callback then raises
    ``KeyboardInterrupt`` when it next reports to its callbacks. Enter it in the main thread.

    Examples
    --------
    >>> with Interrupts() as interrupts:
    ...     try:
    ...         signal.raise_signal(signal.SIGINT)
    ...     except KeyboardInterrupt:
    ...         pass  # lost; the next report raises it again
    >>> interrupts.told
    True
    """

    def __init__(self) -> None:
        self.told = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):  # neither ignored nor left to the system
                self._before[number] = handler
                signal.signal(number, self._remember)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: Any) -> None:
        self.told = True
        self._before[number](number, frame)

    def on_run_start(self, run: RunInfo) -> None:
        """Raise if told to end."""
        self._check()

    def on_phase(self, round_: int, phase: str, done: int, total: int) -> None:
        """Raise if told to end."""
        self._check()

    def on_round(self, record: RoundRecord) -> None:
        """Raise if told to end."""
        self._check()

    def _check(self) -> None:
        if self.told:
            raise KeyboardInterrupt
