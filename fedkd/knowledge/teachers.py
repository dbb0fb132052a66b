"""Fused knowledge: the teachers that clients are sent, and what each of them learns from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from ..errors import RunError
from .arrays import to_arrays, to_tensor
from .kinds import kind_named
from .lazily import LazyMapping
from .stacks import scattered


@dataclass(frozen=True)
class Teacher:
    """Fused knowledge that clients learn from.

    Parameters
    ----------
    kind : str
        As for `Knowledge`.
    values : Tensor
        As one client's knowledge (shared), or with a leading dimension (one per client).
    clients : list of int
        Who is taught, in the order of that dimension.
    mask : Tensor, optional
        bool ``[rows]``, the samples or classes that there is a teacher for.
    weights : Tensor, optional
        ``[clients, clients]``, what it is a mixture by, of a method that has weights.
    extras : dict
        What else every client is sent with it, tensors by name: they are `Target.extras` there.
    """

    kind: str
    values: Tensor
    clients: list[int]
    mask: Tensor | None = None
    weights: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether all clients have the same teacher."""
        return self.values.dim() == kind_named(self.kind).dims

    def records(self) -> dict[int, ArrayRecord]:
        """Return ``{client: its teacher}``; a shared teacher is packed once."""
        return dict(self.one_by_one())

    def one_by_one(self) -> Mapping[int, ArrayRecord]:
        """Return what `records` does, with a teacher of its own packed when it is looked up."""
        if self.shared:
            return dict.fromkeys(self.clients, self._packed(self.values))
        rows = dict(zip(self.clients, self.values, strict=True))
        return LazyMapping(rows, lambda client: self._packed(rows[client]))

    def _packed(self, values: Tensor) -> ArrayRecord:
        about = {} if self.mask is None else {"mask": self.mask.to(torch.uint8)}
        values = values if self.mask is None else values[self.mask]
        if not values.isfinite().all():
            problem = "what the server would send is not finite: it has diverged"
            raise RunError(f"{problem}; try a smaller learning rate in strategy.*")
        return to_arrays({"values": values, **about, **self.extras})


@dataclass(frozen=True)
class Target:
    """What one client learns from: its teacher, as it unpacks it, or the part for one batch.

    Parameters
    ----------
    values : Tensor
        ``[samples, classes]`` (an objective's batch: ``[B, C]``), ``[classes, dim]`` or ``[size]``;
        0 outside the mask.
    kind : str
        As for `Knowledge`.
    temperature : float
        Temperature that soft labels have already, > 0; other kinds have none.
    mask : Tensor, optional
        bool, the rows that there is a teacher for; None = all.
    labels : Tensor, optional
        ``[samples]`` int64, the samples' labels, where they may be seen.
    extras : dict
        What came along, see `Teacher`.

    Examples
    --------
    >>> Target(torch.tensor([[0.8, 0.2, 0.0]])).probabilities(2.0)
    tensor([[0.6667, 0.3333, 0.0000]])
    >>> Target(torch.tensor([[0.8, 0.2, 0.0]]), temperature=2.0).probabilities(2.0)
    tensor([[0.8000, 0.2000, 0.0000]])
    """

    values: Tensor
    kind: str = "soft_labels"
    temperature: float = 1.0
    mask: Tensor | None = None
    labels: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind_named(self.kind)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return the teacher's softened probabilities.

        Logits give ``softmax(z / T)``; soft labels of temperature t give ``p ** (t / T)``,
        renormalised, which is the same thing, since ``t * log p`` are logits. A soft label of 0
        stays exactly 0 at every temperature.

        Parameters
        ----------
        temperature : float
            T, greater than 0.

        Returns
        -------
        Tensor
            ``[B, C]``, rows sum to 1.
        """
        return kind_named(self.kind).probabilities(self.values, self.temperature, temperature)

    def log_probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return the logarithm of `probabilities`, finite also where they are 0.

        Returns
        -------
        Tensor
            ``[B, C]`` in nats; never under -87.3 (the logarithm of the smallest normal float32)
            for soft labels, and never clipped for logits.
        """
        return kind_named(self.kind).log_probabilities(self.values, self.temperature, temperature)

    def paired(self, student_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Return student and teacher in the same form, for losses that compare numbers.

        With a teacher of logits, the raw logits. Soft labels fix logits only up to a constant:
        with such a teacher, the probabilities at `temperature`.

        Returns
        -------
        tuple of Tensor
            Student and teacher, both ``[B, C]``.
        """
        own = self.values, self.temperature
        return kind_named(self.kind).paired(student_logits, *own, temperature)

    @classmethod
    def read(cls, record: ArrayRecord, kind: str, temperature: float = 1.0) -> "Target":
        """Unpack what `Teacher.records` packed."""
        arrays = {name: to_tensor(array) for name, array in record.items()}
        values, mask = arrays.pop("values"), arrays.pop("mask", None)
        if mask is None:
            return cls(values, kind, temperature, extras=arrays)
        return cls(scattered(values, mask.bool()), kind, temperature, mask.bool(), extras=arrays)

    def part(self, values: Tensor) -> "Target":
        """Return a target like this one with other values, all of which are there."""
        return Target(values, self.kind, self.temperature)


@dataclass
class Exchanged:
    """What the server sent in a round, for whoever records it; clients may share a record."""

    starts: dict[int, ArrayRecord] = field(default_factory=dict)
    """what a client was sent before its fit: ``values`` and perhaps ``mask``, of methods that share
    parameters or knowledge of classes"""
    lessons: dict[int, ArrayRecord] = field(default_factory=dict)
    """a client's teacher: ``values`` and, where it does not cover every row, ``mask``"""
    sample_ids: Tensor | None = None
    """``[samples]``, the transfer samples that the teachers are for"""
