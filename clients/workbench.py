"""What one process keeps for the clients it hosts: data, transfer set, test split, streams."""

import json
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Federation, calibration_error, local_accuracy, recall, sampling_error
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

    def labels(self, ids: Tensor) -> Tensor | None:
        """Return the labels of transfer samples ``[samples]``; None unless they may be seen."""
        return self._labels[ids] if self.spec["transfer"]["labelled"] else None

    @cached_property
    def _labels(self) -> Tensor:
        return self.federation.transfer_labels()

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
        """Return a client's local and global accuracy, and ECE, from its test logits ([0, 1]).

        Those on a subset are estimates of what the whole test split would give: each class counts
        as it does there. ``local_se`` and ``global_se`` are their standard errors.
        """
        if self._scored is None or self._scored[0] is not logits:  # see `once`
            right = recall(logits, labels, self.federation.classes)
            self._scored = logits, right, self._common(logits, labels, right)
        _, right, common = self._scored
        counts = torch.as_tensor(self.federation.histogram(client))
        numbers = {"local": local_accuracy(right, counts), **common}
        if "global_se" in common:
            tested, whole = torch.bincount(labels, minlength=len(right)), self._whole
            numbers["local_se"] = sampling_error(right, tested, whole, counts)
        return numbers

    @cached_property
    def _whole(self) -> Tensor:
        """Samples of each class in the whole test split."""
        return torch.as_tensor(self.federation.test_counts())

    def _common(self, logits: Tensor, labels: Tensor, right: Tensor) -> dict[str, float]:
        """Return what does not depend on the client's own labels."""
        if len(labels) == self._whole.sum():
            overall = (logits.argmax(dim=1) == labels).double().mean().item()
            return {"global": overall, "ece": calibration_error(logits, labels)}
        tested = torch.bincount(labels, minlength=len(right))
        stands_for = (self._whole / tested)[labels]
        return {
            "global": local_accuracy(right, self._whole),
            "global_se": sampling_error(right, tested, self._whole, self._whole),
            "ece": calibration_error(logits, labels, weights=stands_for),
        }


@lru_cache(maxsize=1)
def workbench(spec: str) -> Workbench:
    """Return this process's workbench for a spec.

    Flower's backend sends the app along with every message; what it has opened must outlive that.
    """
    return Workbench(spec)
