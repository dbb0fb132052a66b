"""Knowledge: what clients upload, how it is admitted, stacked and sent back as teachers.

A reply is a Flower ``RecordDict`` with three records::

    knowledge  ArrayRecord   values, sample_ids (int32), and what else the kind needs
    about      ConfigRecord  kind, client, round
    metrics    MetricRecord  numbers for the run's tables

`admit` turns it into a `Knowledge`, or raises `Rejected` with the reason: nothing that fails one of
its checks ever reaches a sum.
"""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from .payload import oversize

SIMPLEX_TOLERANCE = 1e-3
"""How far from 1 the sum of a client's soft labels may be."""

LARGEST_LOGIT = 1e6
"""Logits beyond this magnitude are refused: they would drown every other client in a mean."""


class Rejected(Exception):
    """A reply was not admitted; the text is the reason."""


@dataclass(frozen=True)
class Knowledge:
    """What one client uploaded in one round."""

    client: int
    kind: str
    values: Tensor
    """``[samples, classes]`` float32 for soft labels and logits"""
    sample_ids: Tensor
    """``[samples]`` int64, positions in the transfer set"""


@dataclass(frozen=True)
class Expected:
    """What the server asked one client for, and so what it accepts."""

    client: int
    round: int
    kind: str
    sample_ids: Tensor
    classes: int


@dataclass(frozen=True)
class KnowledgeStack:
    """The admitted knowledge of one round, stacked in client order.

    Parameters
    ----------
    kind : str
        ``"soft_labels"`` (rows on the simplex) or ``"logits"``.
    values : Tensor
        ``[n, samples, classes]`` float32.
    clients : list of int
        ``n`` client indices, ascending.
    sample_ids : Tensor
        ``[samples]`` int64, positions in the transfer set.
    mask : Tensor, optional
        ``[n, samples]`` bool: who labelled what, for selective methods.
    labels : Tensor, optional
        ``[samples]`` int64, only where the method needs labels and ``transfer.labelled`` allows it.
    extras : dict
        ``{name: [n, ...]}`` for what a method declares.

    Examples
    --------
    >>> stack = KnowledgeStack("logits", torch.zeros(2, 3, 4), [0, 5], torch.arange(3))
    >>> stack.soft_labels[0, 0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    >>> stack.block(slice(0, 2)).values.shape
    torch.Size([2, 2, 4])
    """

    kind: str
    values: Tensor
    clients: list[int]
    sample_ids: Tensor
    mask: Tensor | None = None
    labels: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def soft_labels(self) -> Tensor:
        """Class probabilities ``[n, samples, classes]``, in [0, 1]."""
        return self.values if self.kind == "soft_labels" else self.values.softmax(dim=-1)

    @property
    def logits(self) -> Tensor:
        """Logits ``[n, samples, classes]``; soft labels do not determine them."""
        if self.kind != "logits":
            raise AttributeError(f"this method exchanges {self.kind}: declare exchange = 'logits'")
        return self.values

    def block(self, samples: slice) -> "KnowledgeStack":
        """Return the part of the stack that concerns some of the samples."""
        return replace(
            self,
            values=self.values[:, samples].contiguous(),
            sample_ids=self.sample_ids[samples],
            mask=None if self.mask is None else self.mask[:, samples],
            labels=None if self.labels is None else self.labels[samples],
        )


def to_tensor(array: Array) -> Tensor:
    """Return a Flower array as a tensor in fresh torch memory.

    The copy matters: vectorised sums may round differently for differently aligned memory, and the
    buffers that arrive from Ray or from Flower are aligned as chance has it.
    """
    return torch.from_numpy(array.numpy()).clone(memory_format=torch.contiguous_format)


def to_record(
    knowledge: Knowledge, round_: int, metrics: Mapping[str, int | float | list[int] | list[float]]
) -> RecordDict:
    """Pack a client's reply."""
    arrays = {
        "values": Array(knowledge.values.numpy()),
        "sample_ids": Array(knowledge.sample_ids.numpy().astype(np.int32)),
    }
    return RecordDict(
        {
            "knowledge": ArrayRecord(arrays),
            "about": ConfigRecord(
                {"kind": knowledge.kind, "client": knowledge.client, "round": round_}
            ),
            "metrics": MetricRecord(dict(metrics)),
        }
    )


def admit(reply: RecordDict, expected: Expected) -> Knowledge:
    """Check a reply and unpack it.

    Raises
    ------
    Rejected
        With the first property that does not hold.
    """
    shape = len(expected.sample_ids), expected.classes
    try:
        problem = oversize(reply, 4 * shape[0] * (shape[1] + 1))  # before anything is decoded
        if problem is not None:
            raise Rejected(problem)
        arrays, about = reply.array_records["knowledge"], reply.config_records["about"]
        told = about["client"], about["round"], about["kind"]
        values, ids = to_tensor(arrays["values"]), to_tensor(arrays["sample_ids"])
    except Rejected:
        raise
    except Exception as error:  # whatever a hostile record makes numpy or Flower raise
        raise Rejected(f"unreadable: {type(error).__name__}") from error
    wanted = expected.client, expected.round, expected.kind
    for name, got, want in zip(("client", "round", "kind"), told, wanted, strict=True):
        if got != want:
            raise Rejected(f"{name}: got {reprlib.repr(got)}, expected {want!r}")
    if ids.dtype != torch.int32 or not torch.equal(ids.long(), expected.sample_ids):
        raise Rejected("sample ids: not the ones asked for")
    check_values(expected.kind, values, shape)
    return Knowledge(expected.client, expected.kind, values, ids.long())


def check_values(kind: str, values: Tensor, shape: Sequence[int]) -> None:
    """Raise `Rejected` unless `values` is knowledge of this kind and shape."""
    if tuple(values.shape) != tuple(shape):
        raise Rejected(f"shape: got {list(values.shape)}, expected {list(shape)}")
    if values.dtype != torch.float32:
        raise Rejected(f"dtype: got {values.dtype}, expected torch.float32")
    if not torch.isfinite(values).all():
        raise Rejected("finite: contains NaN or infinity")
    if (problem := _CHECKS[kind](values)) is not None:
        raise Rejected(problem)


def _off_simplex(values: Tensor) -> str | None:
    if (low := values.min().item()) < 0:
        return f"simplex: smallest entry is {low:.3g}, below 0"
    off = (values.sum(dim=-1) - 1).abs().max().item()
    return f"simplex: a row sums to 1 ± {off:.3g}" if off > SIMPLEX_TOLERANCE else None


def _too_large(values: Tensor) -> str | None:
    high = values.abs().max().item()
    return f"magnitude: {high:.3g} is above {LARGEST_LOGIT:g}" if high > LARGEST_LOGIT else None


_CHECKS: dict[str, Callable[[Tensor], str | None]] = {
    "soft_labels": _off_simplex,
    "logits": _too_large,
}


def stack(admitted: Sequence[Knowledge], labels: Tensor | None = None) -> KnowledgeStack:
    """Stack knowledge in client order.

    Parameters
    ----------
    admitted : sequence of Knowledge
        At least one, all of one kind and for the same samples, sorted by client.
    labels : Tensor, optional
        ``[samples]`` labels of these samples.
    """
    first = admitted[0]
    return KnowledgeStack(
        kind=first.kind,
        values=torch.stack([item.values for item in admitted]),
        clients=[item.client for item in admitted],
        sample_ids=first.sample_ids,
        labels=labels,
    )


@dataclass(frozen=True)
class Teacher:
    """Fused knowledge that clients learn from.

    ``values`` is ``[samples, classes]`` (shared) or ``[n, samples, classes]`` (one per client of
    ``clients``, in that order).
    """

    kind: str
    values: Tensor
    clients: list[int]

    def records(self) -> dict[int, ArrayRecord]:
        """Return ``{client: its teacher}``; a shared teacher is packed once."""
        if self.values.dim() == 2:
            shared = ArrayRecord({"values": Array(self.values.numpy())})
            return dict.fromkeys(self.clients, shared)
        rows = zip(self.clients, self.values.numpy(), strict=True)
        return {client: ArrayRecord({"values": Array(row)}) for client, row in rows}
