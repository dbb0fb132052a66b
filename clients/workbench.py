"""What one process keeps for the clients it hosts: data, transfer set, test split, streams."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..data import Federation
from ..models import build
from ..rng import scoped, stream, torch_generator
from ..tasks.base import Scores, Task, Tested
from ..tasks.rows import each_of
from .base import Client

KEPT_BYTES = 2**29
"""Bytes of clients' samples that a process keeps; what is over them is gathered each time."""

MODELS = 8
"""Models that several clients have of whose outputs a process keeps what was measured: one for each
architecture, or clients in turn of more architectures would have each measured again."""

K = TypeVar("K")
V = TypeVar("V")


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
        self._shared: dict[tuple[str | None, int], Tensor] = {}
        self._tested: dict[int | None, Tested] = {}
        self._scored: dict[int, tuple[Tensor, Scores]] = {}  # by the outputs' id

    @cached_property
    def transfer(self) -> Tensor:
        """The transfer set's samples ``[U, *shape]``."""
        return self.federation.transfer()

    @cached_property
    def each(self) -> int:
        """Rows of knowledge that a sample has: 1, or one for each token of a text."""
        return each_of(returned(self.spec, self.federation)[0])

    @property
    def width(self) -> int:
        """Numbers of a row of predictions: classes, targets, or the vocabulary."""
        return returned(self.spec, self.federation)[0][-1]

    @property
    def transfer_rows(self) -> int:
        """Rows of knowledge on the whole transfer set."""
        return len(self.transfer) * self.each

    def labels(self, ids: Tensor) -> Tensor | None:
        """Return the labels of rows on the transfer set; None unless they may be seen."""
        return self._labels[ids] if self.spec["transfer"]["labelled"] else None

    @cached_property
    def _labels(self) -> Tensor:
        labels = self.federation.transfer_labels()
        return labels if self.each == 1 else labels.flatten()

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
            model = build(factory, self.federation.shape, *returned(self.spec, self.federation))
        return model.to(self.spec["device"])

    def client(
        self, index: int, round_: int, phase: str, model: nn.Module, options: dict[str, Any]
    ) -> Client:
        """Return a client ready for one phase."""
        x, y = self.private(index)
        generator = torch_generator(self.seed_of(index, round_, phase))
        return Client(index, model, x, y, generator, options=options)

    def once(self, key: tuple[str | None, int], compute: Callable[[], Tensor]) -> Tensor:
        """Return test logits; those of a model that several clients have are computed once."""
        if key[0] is None:
            return compute()
        if key not in self._shared:
            keep(self._shared, key, compute())
        return self._shared[key]

    def scores(
        self, task: Task, client: int, outputs: Tensor, samples: int | None
    ) -> dict[str, float]:
        """Return a client's numbers, local and global, from its outputs on the test split.

        Parameters
        ----------
        task : Task
            The run's.
        client : int
            Whose distribution is the local one.
        outputs : Tensor
            ``[n, ...]``; the same object is looked at only once, see `once`.
        samples : int or None
            As for `test`.
        """
        if id(outputs) not in self._scored:  # they are kept, so that no others get their id
            found = task.examined(outputs, self.tested(samples), self.federation.targets)
            keep(self._scored, id(outputs), (outputs, found))
        return self._scored[id(outputs)][1](torch.as_tensor(self.federation.histogram(client)))

    def tested(self, samples: int | None) -> Tested:
        """Return what models are measured on, without the samples themselves."""
        if samples not in self._tested:
            groups = torch.as_tensor(self.federation.test_groups(samples))
            whole = torch.as_tensor(self.federation.test_counts())
            self._tested[samples] = Tested(self.test(samples)[1], groups, whole)
        return self._tested[samples]


def keep(memo: dict[K, V], key: K, value: V) -> None:
    """Put something new into a memo, in place of the oldest if it is full.

    Examples
    --------
    >>> memo = {number: "old" for number in range(MODELS)}
    >>> keep(memo, 99, "new")
    >>> len(memo) == MODELS, 0 in memo, memo[99]
    (True, False, 'new')
    """
    if len(memo) >= MODELS:
        del memo[next(iter(memo))]
    memo[key] = value


def returned(spec: Mapping[str, Any], federation: Federation) -> tuple[tuple[int, ...], str]:
    """Return the shape of what a run's models return for a sample, and for which task.

    Specs of earlier versions do not say.
    """
    outputs = tuple(int(size) for size in spec.get("outputs", [federation.classes]))
    return outputs, str(spec.get("task", {"name": "classification"})["name"])


@lru_cache(maxsize=1)
def workbench(spec: str) -> Workbench:
    """Return this process's workbench for a spec.

    Flower's backend sends the app along with every message; what it has opened must outlive that.
    """
    return Workbench(spec)
