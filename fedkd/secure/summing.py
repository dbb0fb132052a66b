"""What a client puts into a secure sum, and what the server makes of the sum: one file, two ends.

A method whose server needs only sums takes means, plain or weighted. So a client uploads ``w v``
and, where it is not 1, its weight w; the server divides one sum by the other. What the weight is
(a mask, scores, a number of samples), the exchange says: `fedkd.clients.exchange.Exchange`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import SecureConfig
from ..knowledge import Knowledge, kind_named
from ..knowledge.admission import Expected, Rejected, check_count, check_values
from .fixedpoint import Layout, Piece

Sums = Mapping[str, NDArray[np.float64]]

CLIP = 2.0**7
"""Largest magnitude of numbers that are not soft labels, unless ``secure.clip`` says otherwise."""

HEAVIEST = 2.0**20
"""Largest weight of a client, and largest of its counts: samples that it has trained on."""

SLACK = 2.0
"""How many times the samples that there are a sum may count: integers of few bits are coarse."""

FLOOR = 2.0**16
"""Least weight by scores, in units of the integers: a mean of tiny weights must not be noise."""


def knowledge_layout(expected: Expected, config: SecureConfig, parties: int) -> Layout:
    """Return how knowledge becomes integers, for a sum of so many clients.

    Examples
    --------
    >>> labels = Expected(0, 1, "soft_labels", torch.arange(3), (3, 10))
    >>> layout = knowledge_layout(labels, SecureConfig(), parties=100)
    >>> layout.size, layout.bits, layout.fraction
    (30, 32, 24)
    """
    kind = kind_named(expected.kind)
    limit = 1.0 if kind.simplex else config.clip or CLIP
    pieces = [Piece("values", expected.shape, limit * expected.heaviest)]
    if expected.weighted:
        rows = expected.shape[0] if kind.rowwise else 1
        pieces.append(Piece("weights", (rows,), expected.heaviest))
    extras = [Piece(f"extras.{name}", s, HEAVIEST) for name, s in expected.extras.items()]
    wide = expected.scored or extras
    return Layout([*pieces, *extras], config.bits or (64 if wide else 32), parties)


def arrays_layout(like: Mapping[str, Tensor], config: SecureConfig, parties: int) -> Layout:
    """Return how a model's arrays become integers, weighted by the samples of each client."""
    pieces = [Piece("weights", (1,), HEAVIEST)]
    for name, value in like.items():
        limit = config.clip or CLIP if value.is_floating_point() else HEAVIEST
        pieces.append(Piece(f"arrays.{name}", tuple(value.shape), limit * HEAVIEST))
    return Layout(pieces, config.bits or 64, parties)


def contribution(
    knowledge: Knowledge, weight: Tensor | None, layout: Layout
) -> dict[str, NDArray[np.float64]]:
    """Return a client's terms of the sums.

    Parameters
    ----------
    knowledge : Knowledge
        The client's own.
    weight : Tensor or None
        ``[rows]``, or ``[1]`` for parameters, at least 0; None = 1.
    layout : Layout
        See `knowledge_layout`.
    """
    values, terms = knowledge.values.double(), {}
    if weight is not None:
        weight = weight.double()
        if knowledge.scores is not None:
            piece = next(piece for piece in layout.pieces if piece.name == "weights")
            weight = weight.clamp_min(FLOOR / 2.0 ** piece.fraction(layout.bits, layout.parties))
        values = values * weight.view(-1, *[1] * (values.dim() - 1))
        terms["weights"] = weight.numpy()
    terms["values"] = values.numpy()
    return terms | {f"extras.{k}": v.double().numpy() for k, v in knowledge.extras.items()}


def averages(sums: Sums, asked: Sequence[Expected]) -> list[Knowledge]:
    """Return what stands for each client's knowledge: the mean, the same for all.

    Parameters
    ----------
    sums : mapping
        The sums over clients.
    asked : sequence of Expected
        What each of them was asked for.

    Raises
    ------
    Rejected
        If no admissible knowledge could have this mean.
    """
    expected, values, mask = asked[0], torch.from_numpy(sums["values"]), None
    divisor = torch.tensor([float(len(asked))], dtype=torch.float64)
    known = [one.samples for one in asked if one.samples is not None]
    if len(known) == len(asked):
        for name in expected.counted:
            check_count(name, float(sums[f"extras.{name}"].sum()), SLACK * sum(known))
        if expected.counted and expected.weighted:  # by what is counted, at least 1 each
            most = sum(max(1, samples) for samples in known)
            check_count("weights", float(sums["weights"].sum()), SLACK * most)
    if expected.weighted:
        weights = torch.from_numpy(sums["weights"])
        mask, divisor = weights > 0, torch.where(weights > 0, weights, 1.0)
    values = (values / divisor.view(-1, *[1] * (values.dim() - 1))).float()
    if mask is None or not kind_named(expected.kind).rowwise:
        check_values(expected.kind, values, expected.shape)
    else:
        check_values(expected.kind, values[mask], (int(mask.sum()), *expected.shape[1:]))
    one = Knowledge(
        client=expected.client,
        kind=expected.kind,
        values=values,
        sample_ids=expected.sample_ids,
        mask=mask if expected.masked else None,
        scores=torch.ones(len(values)) if expected.scored else None,
        extras={name: _extra(name, sums) for name in expected.extras},
        summed=True,
    )
    return [replace(one, client=each.client) for each in asked]


def _extra(name: str, sums: Sums) -> Tensor:
    total = torch.from_numpy(sums[f"extras.{name}"]).float()
    if total.numel() and total.min().item() < 0:
        raise Rejected(f"{name}: smallest entry is {total.min().item():.3g}, below 0")
    return total


def weighed_arrays(
    arrays: Mapping[str, NDArray[np.generic]], weight: float
) -> dict[str, NDArray[np.float64]]:
    """Return a client's terms of the sums of a model's arrays."""
    terms = {f"arrays.{name}": value.astype(np.float64) * weight for name, value in arrays.items()}
    return terms | {"weights": np.array([weight])}


def mean_arrays(sums: Sums, names: Iterable[str], most: float) -> dict[str, NDArray[np.float64]]:
    """Return the weighted means of a model's arrays.

    Parameters
    ----------
    sums : mapping
        The sums over clients.
    names : iterable of str
        The arrays' names.
    most : float
        Samples that these clients have.

    Raises
    ------
    Rejected
        If the weights cannot be those of clients.
    """
    weight = float(sums["weights"][0])
    if not 0 < weight <= SLACK * most:
        raise Rejected(f"num-examples: sum is {weight:g}, expected a number from 1 to {most:g}")
    return {name: sums[f"arrays.{name}"] / weight for name in names}
