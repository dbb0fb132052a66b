"""Admission: what a client sends is checked before anything is done with it.

`admit` returns a `fedkd.knowledge.Knowledge`, or raises `Rejected` with the reason: nothing that
fails one of its checks ever reaches a sum.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from torch import Tensor

from .arrays import to_tensor
from .kinds import kind_named
from .payload import oversize, payload_bytes, record_of
from .stacks import Knowledge, scattered


class Rejected(Exception):
    """A reply was not admitted; the text is the reason."""


@dataclass(frozen=True)
class Expected:
    """What the server asked one client for, and so what it accepts.

    Parameters
    ----------
    client, round, kind
        Who answers, when, with what.
    sample_ids : Tensor
        ``[samples]`` int64; empty for knowledge that is not about transfer samples.
    shape : tuple of int
        Shape of the values, rows outside a mask included.
    masked : bool
        Whether the client may leave rows out.
    scored : bool
        Whether it sends a score for each sample.
    extras : dict
        Shapes of what else it sends (float32, finite, at least 0 unless `signed`).
    signed : tuple of str
        Extras that may be negative.
    heaviest : float
        The largest weight that it may have in a mean over clients.
    counted : tuple of str
        Extras that count private samples; their entries sum to at most `samples`.
    samples : int or None
        Private samples of the client; None = nobody knows.
    """

    client: int
    round: int
    kind: str
    sample_ids: Tensor
    shape: tuple[int, ...]
    masked: bool = False
    scored: bool = False
    extras: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    signed: tuple[str, ...] = ()
    heaviest: float = 1.0
    counted: tuple[str, ...] = ()
    samples: int | None = None

    @property
    def weighted(self) -> bool:
        """Whether clients do not all weigh the same in a mean."""
        return self.masked or self.scored or self.heaviest > 1

    @property
    def names(self) -> list[str]:
        """Names of the arrays in a reply."""
        optional = {
            "sample_ids": kind_named(self.kind).on_samples,
            "mask": self.masked,
            "scores": self.scored,
        }
        return ["values", *(name for name, sent in optional.items() if sent), *self.extras]

    @property
    def nbytes(self) -> int:
        """Bytes that a reply has at most, without headers."""
        rows = (3 * self.shape[0], *map(prod, self.extras.values()))
        return kind_named(self.kind).bytes(self.shape) + 4 * sum(rows)


def admit(reply: RecordDict, expected: Expected) -> Knowledge:
    """Check a reply and unpack it.

    Raises
    ------
    Rejected
        With the first property that does not hold.
    """
    arrays = _unpacked(reply, expected)
    values, mask = arrays.pop("values"), None
    ids = arrays.pop("sample_ids", expected.sample_ids.to(torch.int32))
    if ids.dtype != torch.int32 or not torch.equal(ids.long(), expected.sample_ids):
        raise Rejected("sample ids: not the ones asked for")
    if expected.masked:
        mask = _mask(arrays.pop("mask"), expected.shape[0])
        check_values(expected.kind, values, (int(mask.sum()), *expected.shape[1:]))
        values = scattered(values, mask)
    else:
        check_values(expected.kind, values, expected.shape)
    shapes = dict(expected.extras)
    if expected.scored:
        shapes["scores"] = (len(ids),)
    for name, shape in shapes.items():
        _check_extra(name, arrays[name], shape, name in expected.signed)
    if expected.samples is not None:
        for name in expected.counted:
            check_count(name, arrays[name].sum().item(), expected.samples)
    scores = arrays.pop("scores", None)
    return Knowledge(expected.client, expected.kind, values, ids.long(), mask, scores, arrays)


def _unpacked(reply: RecordDict, expected: Expected) -> dict[str, Tensor]:
    """Return a reply's arrays, if they are what was asked of this client in this round."""
    try:
        # Counted anew: what came compressed is decoded by now, larger than what travelled.
        problem = oversize(payload_bytes(reply), expected.nbytes)
        if problem is not None:
            raise Rejected(problem)
        record = record_of(reply, "knowledge", ArrayRecord)
        about = record_of(reply, "about", ConfigRecord)
        if record is None or about is None:
            raise KeyError("knowledge and about")
        told = about["client"], about["round"], about["kind"]
        arrays = {name: to_tensor(record[name]) for name in expected.names}
    except Rejected:
        raise
    except Exception as error:  # whatever a hostile record makes numpy or Flower raise
        raise Rejected(f"unreadable: {type(error).__name__}") from error
    wanted = expected.client, expected.round, expected.kind
    for name, got, want in zip(("client", "round", "kind"), told, wanted, strict=True):
        if got != want:
            raise Rejected(f"{name}: got {reprlib.repr(got)}, expected {want!r}")
    return arrays


def _mask(values: Tensor, rows: int) -> Tensor:
    if values.dtype != torch.uint8 or tuple(values.shape) != (rows,) or bool((values > 1).any()):
        raise Rejected(f"mask: must be {rows} zeros and ones of type uint8")
    return values.bool()


def _check_extra(name: str, values: Tensor, shape: tuple[int, ...], signed: bool) -> None:
    try:
        check_values("parameters", values, shape)
    except Rejected as reason:
        raise Rejected(f"{name}: {reason}") from None
    if not signed and values.numel() and values.min().item() < 0:
        raise Rejected(f"{name}: smallest entry is {values.min().item():.3g}, below 0")


def check_count(name: str, claimed: object, most: float, least: float = 0) -> float:
    """Return a number that a client tells, if it is one between `least` and `most`.

    Raises
    ------
    Rejected
        If it is not.

    Examples
    --------
    >>> check_count("num-examples", 12, most=40)
    12.0
    >>> check_count("num-examples", 1e300, most=40)
    Traceback (most recent call last):
        ...
    fedkd.knowledge.admission.Rejected: num-examples: got 1e+300, expected a number from 0 to 40
    """
    if not isinstance(claimed, int | float) or not least <= claimed <= most:
        told = reprlib.repr(claimed)
        raise Rejected(f"{name}: got {told}, expected a number from {least:g} to {most:g}")
    return float(claimed)


def check_values(kind: str, values: Tensor, shape: Sequence[int]) -> None:
    """Raise `Rejected` unless `values` is knowledge of this kind and shape."""
    if tuple(values.shape) != tuple(shape):
        raise Rejected(f"shape: got {list(values.shape)}, expected {list(shape)}")
    if values.dtype != torch.float32:
        raise Rejected(f"dtype: got {values.dtype}, expected torch.float32")
    if not _finite(values):
        raise Rejected("finite: contains NaN or infinity")
    if values.numel() and (problem := kind_named(kind).check(values)) is not None:
        raise Rejected(problem)


def _finite(values: Tensor) -> bool:
    """Tell whether all numbers are finite, without an array of answers."""
    return not values.numel() or all(map(math.isfinite, map(float, values.aminmax())))
