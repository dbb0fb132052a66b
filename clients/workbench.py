"""What one process keeps for the clients it hosts: data, transfer set, test split, streams."""

import json
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Federation, calibration_error, local_accuracy, recall
from ..models import build
from ..rng import scoped, stream, torch_generator
from .base import Client

KEPT_BYTES = 2**29
"""Bytes of clients' samples that a process keeps; what is over them is gathered each time."""


class Workbench:
    """Opens what a spec names, each thing once and only when it is needed.

    Parameters
    ----------
    spec : str
        The run's JSON spec.
    """

    def __init__(self, spec: str) -> None:
        self.spec: dict[str, Any] = json.loads(spec)
        self.federation = Federation.open(self.spec["data"])
        self.seed: int = self.spec["seed"]
        self._private: dict[int, tuple[Tensor, Tensor]] = {}
        self._kept = 0  # bytes of them
        self._tests: dict[int | None, tuple[Tensor, Tensor]] = {}
        self._shared: tuple[tuple[str | None, int], Tensor] | None = None
        self._scored: tuple[Tensor, Tensor, dict[str, float]] | None = None

    @cached_property
    def transfer(self) -> Tensor:
        """The transfer set's samples ``[U, *shape]``."""
        return self.federation.transfer()

    def private(self, client: int) -> tuple[Tensor, Tensor]:
        """Return a client's training samples and labels."""
        if client in self._private:
            return self._private[client]
        x, y = self.federation.client(client)
        if self._kept + x.nbytes <= KEPT_BYTES:
            self._private[client], self._kept = (x, y), self._kept + x.nbytes
        return x, y

    def test(self, samples: int | None) -> tuple[Tensor, Tensor]:
        """Return the test split, or a class-balanced subset of it."""
        if samples not in self._tests:
            self._tests[samples] = self.federation.test(samples)
        return self._tests[samples]

    def seed_of(self, client: int, round_: int, phase: str) -> int:
        """Return the seed of one stream."""
        return stream(self.seed, client, round_, phase)

    def model(self, client: int, factory: Any, name: str = "model") -> nn.Module:
        """Build a client's model, initialised from its own stream `name`.

        Clients whose model the server overwrites before its first use get one all the same; it
        costs a millisecond and keeps one path.
        """
        with scoped(self.seed_of(client, 0, name)):
            model = build(factory, self.federation.shape, self.federation.classes)
        return model.to(self.spec["device"])

    def client(
        self, index: int, round_: int, phase: str, model: nn.Module, options: dict[str, Any]
    ) -> Client:
        """Return a client ready for one phase."""
        x, y = self.private(index)
        generator = torch_generator(self.seed_of(index, round_, phase))
        return Client(index, model, x, y, generator, options=options)

    def once(self, key: tuple[str | None, int], compute: Callable[[], Tensor]) -> Tensor:
        """Return test logits; those of a model that all clients received are computed once."""
        if key[0] is None:
            return compute()
        if self._shared is None or self._shared[0] != key:
            self._shared = key, compute()
        return self._shared[1]

    def accuracy(self, client: int, logits: Tensor, labels: Tensor) -> dict[str, float]:
        """Return a client's local and global accuracy, and ECE, from its test logits ([0, 1])."""
        if self._scored is None or self._scored[0] is not logits:  # see `once`
            guess = logits.argmax(dim=1)
            right = recall(guess, labels, self.federation.classes)
            overall = (guess == labels).double().mean().item()
            common = {"global": overall, "ece": calibration_error(logits, labels)}
            self._scored = logits, right, common
        _, right, common = self._scored
        counts = torch.as_tensor(self.federation.histogram(client))
        return {"local": local_accuracy(right, counts), **common}


@lru_cache(maxsize=1)
def workbench(spec: str) -> Workbench:
    """Return this process's workbench for a spec.

    Flower's backend sends the app along with every message; what it has opened must outlive that.
    """
    return Workbench(spec)
