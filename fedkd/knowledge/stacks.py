"""Knowledge: what clients upload, and how it is stacked.

A reply is a Flower ``RecordDict`` with these records::

    knowledge  ArrayRecord   values, sample_ids (int32), and what else the exchange declares
    about      ConfigRecord  kind, client, round
    metrics    MetricRecord  numbers that the method may see
    measured   MetricRecord  numbers for the run's tables alone (`fedkd.engine.base.MEASURED`)

`fedkd.knowledge.admission.admit` turns it into a `Knowledge`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from .arrays import to_arrays
from .kinds import Kind, kind_named
from .shelf import side_by_side

_AT_ONCE = 256
"""Samples of which all clients' knowledge is taken at a time in double precision."""


@dataclass(frozen=True)
class Knowledge:
    """What one client uploaded in one round.

    Parameters
    ----------
    client : int
        Who.
    kind : str
        ``"soft_labels"``, ``"logits"``, ``"class_knowledge"``, ``"parameters"``, or a `Kind`.
    values : Tensor
        float32: ``[samples, classes]`` for soft labels and logits, ``[classes, dim]`` for class
        knowledge, ``[size]`` for parameters. Rows outside the mask are 0.
    sample_ids : Tensor
        ``[samples]`` int64, positions in the transfer set; empty for other kinds.
    mask : Tensor, optional
        bool, which rows of `values` the client sent: samples that it labelled, or classes that it
        has.
    scores : Tensor, optional
        ``[samples]`` float32, how much it claims to know about each sample.
    extras : dict
        What else the exchange declares.
    summed : bool
        True where it is not the client's own: all that is known is the mean over clients, and it
        is the same for each (see `fedkd.secure.masking`).
    """

    client: int
    kind: str
    values: Tensor
    sample_ids: Tensor
    mask: Tensor | None = None
    scores: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    summed: bool = False


@dataclass(frozen=True)
class KnowledgeStack:
    """The admitted knowledge of one round, stacked in client order.

    With secure aggregation there is one row for all clients, their mean.

    Parameters
    ----------
    kind : str
        As for `Knowledge`; rows of soft labels are on the simplex.
    values : Tensor
        float32 ``[n, samples, classes]``; class knowledge is ``[n, classes, dim]``, parameters
        ``[n, size]``.
    clients : list of int
        ``n`` client indices, ascending.
    sample_ids : Tensor
        ``[samples]`` int64, positions in the transfer set.
    mask : Tensor, optional
        bool, ``[n, samples]`` who labelled what (selective methods), or ``[n, classes]`` who has
        what; values outside it are 0.
    scores : Tensor, optional
        ``[n, samples]`` float32, at least 0: how much a client knows about a sample.
    labels : Tensor, optional
        ``[samples]`` int64, only where the method needs labels and ``transfer.labelled`` allows it.
    extras : dict
        ``{name: [n, ...]}`` for what the exchange declares, such as ``counts`` ``[n, classes]``.

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
    scores: Tensor | None = None
    labels: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def soft_labels(self) -> Tensor:
        """Class probabilities ``[n, samples, classes]``, in [0, 1]."""
        return kind_named(self.kind).probabilities(self.values)

    def mean(self) -> Tensor:
        """Return the plain mean over clients ``[samples, ...]``; of Gaussians, their mixture's."""
        kind = kind_named(self.kind)
        return kind.mixed(kind.linear(self.values).mean(dim=0))

    def distribution(self) -> Tensor:
        """Return how each client's predictions of numbers are spread, ``[n, bins]``."""
        return kind_named(self.kind).distribution(self.values)

    def disagreement(self) -> Tensor:
        """Return how far clients are from their mean on each sample, float64 ``[samples]``.

        See `Kind.apart`; nan where fewer than two clients have sent something.

        Examples
        --------
        >>> labels = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
        >>> KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(2)).disagreement()
        tensor([0.6931, 0.0000], dtype=torch.float64)
        """
        kind, samples = kind_named(self.kind), range(0, len(self.sample_ids), _AT_ONCE)
        parts = [self.view(slice(first, first + _AT_ONCE)) for first in samples]
        return torch.cat([_apart(kind, part) for part in parts] or [torch.zeros(0).double()])

    @property
    def logits(self) -> Tensor:
        """Logits ``[n, samples, classes]``; soft labels do not determine them."""
        if self.kind != "logits":
            raise AttributeError(f"this method exchanges {self.kind}: declare exchange = 'logits'")
        return self.values

    @property
    def counts(self) -> Tensor:
        """Samples of each class ``[n, classes]``, where the exchange declares them."""
        if "counts" not in self.extras:
            raise AttributeError("this method's exchange does not declare counts")
        return self.extras["counts"]

    def view(self, samples: slice) -> "KnowledgeStack":
        """Return the part of the stack that concerns some of the samples; it shares memory."""
        return replace(
            self,
            values=self.values[:, samples],
            sample_ids=self.sample_ids[samples],
            mask=None if self.mask is None else self.mask[:, samples],
            scores=None if self.scores is None else self.scores[:, samples],
            labels=None if self.labels is None else self.labels[samples],
        )

    def compact(self) -> "KnowledgeStack":
        """Return the stack with its numbers in one piece: a view takes memory of its own."""
        return replace(
            self,
            values=self.values.contiguous(),
            mask=None if self.mask is None else self.mask.contiguous(),
            scores=None if self.scores is None else self.scores.contiguous(),
        )

    def block(self, samples: slice) -> "KnowledgeStack":
        """Return a copy of the part of the stack that concerns some of the samples."""
        return self.view(samples).compact()


def _apart(kind: Kind, part: KnowledgeStack) -> Tensor:
    sent = torch.ones(part.values.shape[:2]) if part.mask is None else part.mask
    count = sent.double().sum(dim=0)
    apart = kind.apart(part.values, sent.double() / count.clamp_min(1))
    return torch.where(count < 2, torch.nan, apart)


def to_record(
    knowledge: Knowledge, round_: int, metrics: Mapping[str, int | float | list[int] | list[float]]
) -> RecordDict:
    """Pack a client's reply; rows outside the mask are not sent."""
    values, mask = knowledge.values, knowledge.mask
    tensors = {"values": values if mask is None else values[mask]}
    if kind_named(knowledge.kind).on_samples:
        tensors["sample_ids"] = knowledge.sample_ids.to(torch.int32)
    if mask is not None:
        tensors["mask"] = mask.to(torch.uint8)
    if knowledge.scores is not None:
        tensors["scores"] = knowledge.scores
    tensors |= knowledge.extras
    about: dict[str, Any] = {
        "kind": str(knowledge.kind),
        "client": knowledge.client,
        "round": round_,
    }
    return RecordDict(
        {
            "knowledge": to_arrays(tensors),
            "about": ConfigRecord(about),
            "metrics": MetricRecord(dict(metrics)),
        }
    )


def stack(admitted: Sequence[Knowledge], labels: Tensor | None = None) -> KnowledgeStack:
    """Stack knowledge in client order.

    Values that lie side by side, as on a `fedkd.knowledge.shelf.Shelf`, are not copied.

    Parameters
    ----------
    admitted : sequence of Knowledge
        At least one, all of one kind and for the same samples, sorted by client. Of those that are
        `Knowledge.summed`, only the first makes a row.
    labels : Tensor, optional
        ``[samples]`` labels of these samples.
    """
    first = admitted[0]
    rows = admitted[:1] if first.summed else admitted
    masks = [item.mask for item in rows if item.mask is not None]
    scores = [item.scores for item in rows if item.scores is not None]
    return KnowledgeStack(
        kind=first.kind,
        values=side_by_side([item.values for item in rows]),
        clients=[item.client for item in admitted],
        sample_ids=first.sample_ids,
        mask=torch.stack(masks) if masks else None,
        scores=torch.stack(scores) if scores else None,
        labels=labels,
        extras={name: torch.stack([item.extras[name] for item in rows]) for name in first.extras},
    )


def scattered(rows: Tensor, mask: Tensor) -> Tensor:
    """Return rows at the places that a mask says, 0 elsewhere.

    Examples
    --------
    >>> scattered(torch.tensor([[0.2, 0.8]]), torch.tensor([False, True]))
    tensor([[0.0000, 0.0000],
            [0.2000, 0.8000]])
    """
    values = torch.zeros(len(mask), *rows.shape[1:])
    values[mask] = rows
    return values
