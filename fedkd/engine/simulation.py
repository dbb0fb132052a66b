"""The flower engine: Flower's own simulation backend, under our ordering proxy.

It shows that fedkd's apps are ordinary Flower apps: clients share no process with the server, and
their state travels in ``Context.state``.
"""

from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

from ..errors import RunError
from ..flower import lost, run_in_flower
from .base import Engine, InlineBlocks, Main
from .cluster import actor_resources, shared_ray
from .host import single_thread
from .warm import WARM


class FlowerEngine(Engine):
    """Flower's Ray backend; fusion runs in the server's process."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` as a ServerApp."""
        failure: list[BaseException] = []

        def serve(grid: Grid) -> None:
            single_thread()
            _end_with_the_actors(grid)
            try:
                main(grid, InlineBlocks())
            except BaseException as error:
                failure.append(error)

        with shared_ray(self.config):
            WARM.dismiss()  # Flower's actors may need what those have
            backend = {"client_resources": actor_resources(self.config)}
            run_in_flower(serve, self.factory(1), len(self.work), backend)
        if failure:
            raise failure[0]


def _end_with_the_actors(grid: Grid) -> None:
    """Make a grid raise when an actor has died.

    Flower's backend does not replace it. Its clients, now these and now those, would be missing
    from the rest of the run.
    """
    pull = grid.pull_messages

    def checked(message_ids: Iterable[str]) -> list[Message]:
        replies = list(pull(message_ids))
        for reply in replies:
            if lost(reply):
                cause = " ".join(str(reply.error.reason).split())
                raise RunError(f"engine=flower lost an actor (engine=ray replaces them): {cause}")
        return replies

    grid.pull_messages = checked  # type: ignore[method-assign]
