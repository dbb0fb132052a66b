"""Ray starts on a thread of its own, while a run is being prepared."""

import threading
from collections.abc import Callable

from .signals import held_signals


class Start(threading.Thread):
    """Ray's start under way, and then Ray: on Linux its processes end with this thread.

    Parameters
    ----------
    begin : callable
        Has Ray up when it returns.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        super().__init__(name="ray", daemon=True)
        self._begin = begin
        self._error: BaseException | None = None
        self._done, self._over = threading.Event(), threading.Event()
        self.start()
        # No daemon: Python ends after it. Ray's own exit handler would end a Ray halfway up, whose
        # start then looks for it for a minute.
        threading.Thread(target=self._done.wait, name="ray's start").start()

    def run(self) -> None:
        """Start, and stay."""
        try:
            self._begin()
        except BaseException as error:
            self._error = error
        self._done.set()
        self._over.wait()

    def wait(self) -> BaseException | None:
        """Wait until Ray is up, as signals do; return why it is not, if it failed."""
        with held_signals():
            self._done.wait()
        return self._error

    def end(self) -> None:
        """Let the thread go: Ray is down."""
        self._over.set()
