"""What outlives a run in this process: a Ray that fedkd started, and actors without clients.

The next run then has no imports to wait for. An actor stays only if a run has left no trace in it
(see `traces`), for a while only, and only while it is what would be started now: in the same
environment, with the same resources. In a Ray of the user's, where an actor holds CPUs that other
work may wait for, the while is short.
"""

import atexit
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import FedkdError
from .ahead import Start

log = logging.getLogger("fedkd")

IDLE_SECONDS, LENT_SECONDS = 300.0, 10.0
"""How long actors wait for the next run: in a Ray that fedkd started, and in one of the user's."""

MOST = 32
"""Actors that wait, at most."""

ANSWER_SECONDS = 10.0
"""How long actors may take to say that they can be kept, or are still there."""


SET_BY_LIBRARIES = ("RAY_", "KMP_", "PYTHONBREAKPOINT")
"""How environment variables begin that Ray and scikit-learn set when they are imported."""


class Surroundings(NamedTuple):
    """What a Ray is started in; in another one, a new one is started.

    Parameters
    ----------
    address : str or None
        The cluster that is joined, None = Ray is started on this machine.
    others : tuple
        Whatever else is to be the same.
    """

    address: str | None
    others: Any

    def lasting(self) -> tuple[Any, ...]:
        """Return them without variables that importing a library sets."""
        variables, *rest = self.others
        users = {k: v for k, v in variables.items() if not k.startswith(SET_BY_LIBRARIES)}
        return self.address, users, *rest


class Warm:
    """Keeps Ray and actors between the runs of this process.

    Attributes
    ----------
    actors : list
        Those that wait for the next run.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._uses = 0  # runs under way, and other blocks that Ray must stay for
        self._ray: tuple[Any, Surroundings] | None = None  # the one that fedkd has started
        self._start: Start | None = None  # its thread, where it has one
        self._coming: Surroundings | None = None  # what a Ray is being started in
        self.actors: list[Any] = []
        self._for: Any = None  # the Ray they are in, and what each of them has of it
        self._timer = threading.Timer(0.0, self.dismiss)

    @contextmanager
    def use(self, now: Callable[[], Surroundings]) -> Iterator[None]:
        """Have nothing end inside; before it ends what is not what would be started `now`."""
        with self._lock:
            self._timer.cancel()
            self._uses += 1
            outermost = self._uses == 1
            if outermost:
                self.arrive(now)
            if outermost and self._ray and self._ray[1] != now():
                self.end()
        try:
            yield
        except BaseException as error:
            if outermost and not isinstance(error, FedkdError):
                self.end()  # who knows in what state it is
            raise
        finally:
            self._rest()

    def begin(self, start: Start, surroundings: Surroundings) -> None:
        """Note that Ray is being started."""
        self._start, self._coming = start, surroundings

    def arrive(self, now: Callable[[], Surroundings]) -> BaseException | None:
        """Wait for a Ray that is being started; return why it is not up, if that failed.

        It ends if another one would be started by then.
        """
        before, error = self._coming, self._settle()
        if before is None or error is not None:
            return error
        surroundings = now()  # Ray has set variables, too
        if before.lasting() != surroundings.lasting():
            self.end()
        else:
            self.started(surroundings)
        return None

    def _settle(self) -> BaseException | None:
        """Wait for a Ray that is being started; return why it is not up, if that failed."""
        if self._coming is None or self._start is None:
            return None
        error = self._start.wait()
        if error is None:
            self.started(self._coming)
        else:
            self._start.end()
        self._coming = None
        return error

    def started(self, surroundings: Surroundings) -> None:
        """Note that fedkd has started the Ray that is up, or has joined its cluster."""
        self._ray = session(), surroundings

    def asks(self, resources: Mapping[str, float]) -> dict[str, float]:
        """Return what an actor asks for: no CPUs where nothing else can want them."""
        alone = self._ours() and self._ray is not None and self._ray[1].address is None
        return {**resources, "num_cpus": 0.0} if alone else {**resources}

    def hire(self, asked: Mapping[str, float], count: int) -> list[Any]:
        """Return at most so many of the actors that wait; the others end."""
        fitting = self.actors[:count] if self._for == (session(), asked) else []
        hired = _usable(fitting, [actor.ready.remote() for actor in fitting])
        self.actors = [actor for actor in self.actors if actor not in hired]
        self.dismiss()
        return hired

    def keep(self, asked: Mapping[str, float], actors: Sequence[Any]) -> None:
        """Have actors wait for the next run, as far as they can; the others end."""
        import ray

        clean = _usable(actors, [actor.release.remote() for actor in actors])
        for actor in actors:
            if actor not in clean[:MOST]:
                ray.kill(actor)
        self.actors, self._for = clean[:MOST], (session(), asked)

    def dismiss(self) -> None:
        """End the actors that wait."""
        if self.actors and self._for[0] == session():  # else they have ended with their Ray
            import ray

            for actor in self.actors:
                ray.kill(actor)
        self.actors = []

    def end(self) -> None:
        """End all that is kept, and Ray if it is ours."""
        with self._lock:
            self._timer.cancel()
            self._settle()
            self.dismiss()
            if self._ours():
                import ray

                ray.shutdown()
            self._ray = None
            if self._start is not None:
                self._start.end()
            self._start = None

    def _ours(self) -> bool:
        return self._ray is not None and self._ray[0] == session()

    def _rest(self) -> None:
        """After the last use: leave a cluster, and have actors not wait for ever."""
        with self._lock:
            self._uses -= 1
            if self._uses:
                return
            if self._ray and self._ray[1].address is not None:
                self.end()
            if self.actors:
                seconds = IDLE_SECONDS if self._ours() else LENT_SECONDS
                self._timer = threading.Timer(seconds, self._idle)
                self._timer.daemon = True
                self._timer.start()

    def _idle(self) -> None:
        with self._lock:
            if not self._uses:
                self.dismiss()


WARM = Warm()
"""A process has one, as it has one Ray."""


def session() -> Any:
    """Return what tells the Ray that is up from any other, None if there is none."""
    import ray

    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()


def _usable(actors: Sequence[Any], answers: Sequence[Any]) -> list[Any]:
    """Return the actors that have nothing to say against it, and say so before long."""
    import ray
    from ray.exceptions import RayError

    def objection(answer: Any) -> str:
        try:
            return str(ray.get(answer, timeout=0))
        except RayError as error:
            return type(error).__name__

    if answers:
        ray.wait(list(answers), num_returns=len(answers), timeout=ANSWER_SECONDS)
    against = [objection(answer) for answer in answers]
    for reason in filter(None, against):
        log.info("an actor is not used again: %s", reason)
    return [actor for actor, reason in zip(actors, against, strict=True) if not reason]


@atexit.register
def shutdown() -> None:
    """End what is kept for the next run: actors without clients, and a Ray that fedkd started.

    The end of the process does the same. A Ray that was there before stays up.

    Examples
    --------
    >>> shutdown()
    """
    WARM.end()
