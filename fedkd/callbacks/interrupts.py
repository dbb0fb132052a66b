"""Ends a run that was told to end, even if Python has lost the exception that says so."""

import signal
import socket
from contextlib import AbstractContextManager, suppress

from ..ending import ENDING
from .base import Callback, RoundRecord, RunInfo


class Interrupts(Callback, AbstractContextManager["Interrupts"]):
    """Notes SIGINT, SIGTERM and SIGHUP while it is entered, beside the handlers that there are.

    What a handler raises can be lost: in a finaliser, or when a process is forked, Python prints
    "Exception ignored" and goes on. A run with this callback then raises ``KeyboardInterrupt`` when
    it next reports to its callbacks, or in place of any other error. Enter it in the main thread.

    Examples
    --------
    >>> with Interrupts() as interrupts:
    ...     try:
    ...         signal.raise_signal(signal.SIGINT)
    ...     except KeyboardInterrupt:
    ...         pass  # lost; the next report raises it again
    ...     interrupts.told
    True
    """

    def __init__(self) -> None:
        self._told = False

    def __enter__(self) -> "Interrupts":
        self._noted, self._notes = socket.socketpair()
        for end in (self._noted, self._notes):
            end.setblocking(False)
        # Python writes the numbers of the signals there that it has a handler for, whosever it is.
        self._before = signal.set_wakeup_fd(self._notes.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        told = self.told
        signal.set_wakeup_fd(self._before)
        self._noted.close()
        self._notes.close()
        if told and isinstance(error, Exception):  # an import may turn the interrupt into its own
            raise KeyboardInterrupt from error

    @property
    def told(self) -> bool:
        """Whether there was a signal to end."""
        with suppress(BlockingIOError):
            self._told |= not set(ENDING).isdisjoint(self._noted.recv(4096))
        return self._told

    def on_run_start(self, run: RunInfo) -> None:
        """Raise if told to end."""
        self.check()

    def on_phase(self, round_: int, phase: str, done: int, total: int) -> None:
        """Raise if told to end."""
        self.check()

    def on_round(self, record: RoundRecord) -> None:
        """Raise if told to end."""
        self.check()

    def check(self) -> None:
        """Raise if told to end."""
        if self.told:
            # A handler that is still to be called would raise in the midst of the run's end. This
            # calls it.
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_BLOCK, ())
            raise KeyboardInterrupt
