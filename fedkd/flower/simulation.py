"""Flower's own simulation backend, so that an interrupt ends it and Ray stays up."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from .messages import identity

if TYPE_CHECKING:
    from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend


def run_in_flower(
    main: Callable[[Grid], None], app: ClientApp, nodes: int, backend: dict[str, Any]
) -> None:
    """Call ``main(grid)`` as a ``ServerApp`` in Flower's own simulation backend.

    Ray must be up, and stays up. Flower works on a thread of its own: an interrupt must not hit one
    that joins others, for Python 3.11 then takes them for ended, and Ray's end under them is a hang
    or a segmentation fault.

    Parameters
    ----------
    main : callable
        The server's side; runs in a thread that Flower starts.
    app : ClientApp
        What every node executes.
    nodes : int
        Number of simulated nodes.
    backend : dict
        Flower's backend configuration (``client_resources``, ``init_args``).

    Raises
    ------
    KeyboardInterrupt
        When interrupted, as soon as ``main`` has noticed: its grid raises the same.
    """
    from flwr.simulation import run_simulation

    server, leaving = ServerApp(), Event()

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        del context
        _leave_when(leaving, grid)
        main(grid)

    # Flower sets this process's identity and leaves it set.
    with identity(), quiet(), _own_backend() as started, ThreadPoolExecutor(1) as aside:
        try:
            aside.submit(run_simulation, server, app, nodes, backend_config=backend).result()
        except KeyboardInterrupt:
            leaving.set()
            for one in started:
                one.terminate()  # what waits for its actors waits no more
            raise


def _leave_when(leaving: Event, grid: Grid) -> None:
    pull = grid.pull_messages

    def checked(message_ids: Iterable[str]) -> Iterable[Message]:
        if leaving.is_set():
            raise KeyboardInterrupt
        return pull(message_ids)

    grid.pull_messages = checked  # type: ignore[method-assign]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Flower's announcements; what goes wrong reaches us as error replies."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _own_backend() -> Iterator[list["RayBackend"]]:
    """Have Flower use a backend that ends its actors, busy or not, and leaves Ray up.

    Yields the list of those that were built.
    """
    import ray
    from flwr.server.superlink.fleet.vce.backend import raybackend

    class Backend(raybackend.RayBackend):
        def build(self, app_fn: Callable[[], ClientApp]) -> None:
            super().build(app_fn)
            built.append(self)

        def terminate(self) -> None:
            pool = self.pool
            for actor in [*pool.pool, *pool._future_to_actor.values()] if pool else []:
                ray.kill(actor)  # type: ignore[arg-type]

    built: list[raybackend.RayBackend] = []
    original = raybackend.RayBackend
    raybackend.RayBackend = Backend  # type: ignore[misc]
    try:
        yield built
    finally:
        raybackend.RayBackend = original  # type: ignore[misc]
