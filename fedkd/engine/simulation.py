"""The flower engine: Flower's own simulation backend, under our ordering proxy.

It shows that fedkd's apps are ordinary Flower apps: clients share no process with the server, and
their state travels in ``Context.state``.
"""

from flwr.serverapp import Grid

from ..flower import run_in_flower
from .base import Engine, InlineBlocks, Main
from .cluster import actor_resources, shared_ray
from .host import single_thread


class FlowerEngine(Engine):
    """Flower's Ray backend; fusion runs in the server's process."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` as a ServerApp."""
        failure: list[BaseException] = []

        def serve(grid: Grid) -> None:
            single_thread()
            try:
                main(grid, InlineBlocks())
            except BaseException as error:
                failure.append(error)

        with shared_ray(self.config):
            backend = {"client_resources": actor_resources(self.config)}
            run_in_flower(serve, self.factory(), len(self.sizes), backend)
        if failure:
            raise failure[0]
