"""Whether a loop asks for what a method adds to the private loss."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from .base import Client, ClientLoop


@contextmanager
def heard(loop: ClientLoop, client: Client) -> Iterator[None]:
    """Hold while a client fits: a loop that trains must ask for ``client.extra_loss``, if there is.

    Raises
    ------
    RuntimeError
        If it has not: what it trained is another method.
    """
    asked, added = False, client.extra_loss
    if added is None:
        yield
        return

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        nonlocal asked
        asked = True
        return added(logits, labels)

    client.extra_loss = loss
    yield
    if not asked and len(client.y) and loop.fit_config["epochs"]:
        problem = "trains without what the method adds to the loss (Client.extra_loss)"
        raise RuntimeError(f"client: {type(loop).__name__} {problem}")
