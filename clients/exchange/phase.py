"""What an exchange sees of a message being answered; `fedkd.clients.phase` is what it is then."""

from typing import Any, Protocol

from torch import Tensor, nn

from ...distillation.base import Objective
from ...engine.state import Memory
from ..base import Client, ClientLoop
from ..workbench import Workbench


class Phase(Protocol):
    """A message being answered.

    Attributes
    ----------
    index, round : int
        The client and the round.
    options : dict
        The message's configuration.
    memory : Memory
        What the client keeps: model and tensors.
    bench : Workbench
        The process's samples and models.
    """

    index: int
    round: int
    options: dict[str, Any]
    memory: Memory
    bench: Workbench

    @property
    def client(self) -> Client:
        """What the training loop works on."""

    @property
    def loop(self) -> ClientLoop:
        """The training loop."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    def transfer(self) -> tuple[Tensor, Tensor]:
        """Return the round's transfer samples and their ids: those of the rows of knowledge."""

    def objective(self) -> Objective:
        """Return a fresh copy of the distillation objective."""

    def build(self, spec: Any, name: str) -> nn.Module:
        """Return another model of this client, initialised from its own stream `name`."""

    def other(self, client: int) -> nn.Module:
        """Return a model like that of another client."""
