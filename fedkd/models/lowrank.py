"""Parameters with fewer numbers: singular value decomposition, matrix by matrix.

A tensor with more than two dimensions counts as the matrix ``[first, product of the others]``;
one with fewer stays as it is.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from .flat import floats

Shapes = Sequence[tuple[int, ...]]


def shapes_of(model: nn.Module) -> list[tuple[int, ...]]:
    """Return the shapes of what `fedkd.models.flat.flatten` puts into one vector, in that order."""
    return [tuple(value.shape) for value in floats(model).values()]


def ramped(round_: int, start: float, end: float, rounds: int) -> float:
    """Return what has moved evenly from `start` to `end` after `rounds` rounds, and stays there.

    Examples
    --------
    >>> [round(ramped(number, 0.95, 0.98, 3), 2) for number in (1, 2, 3, 4)]
    [0.96, 0.97, 0.98, 0.98]
    """
    return start + min(1.0, round_ / rounds) * (end - start)


def rank_for(energy: float, singular_values: Tensor) -> int:
    """Return how many of the largest singular values hold this share of the squares' sum.

    Examples
    --------
    >>> values = torch.tensor([3.0, 1.0])
    >>> rank_for(0.9, values), rank_for(0.91, values), rank_for(1.0, values)
    (1, 2, 2)
    """
    sums = singular_values.double().square().cumsum(dim=0)
    if not len(sums) or sums[-1] == 0:
        return 0
    return min(int((sums < energy * sums[-1]).sum()) + 1, len(sums))


def low_rank(vector: Tensor, shapes: Shapes, share: float) -> Tensor:
    """Return parameters of which each matrix keeps a share of its singular values.

    Parameters
    ----------
    vector : Tensor
        ``[size]``.
    shapes : sequence of tuple
        Of the tensors that it holds.
    share : float
        In (0, 1]; every matrix keeps at least one singular value, the largest.

    Examples
    --------
    >>> low_rank(torch.tensor([3.0, 0.0, 0.0, 1.0, 5.0]), [(2, 2), (1,)], 0.5)
    tensor([3., 0., 0., 0., 5.])
    """
    parts = []
    for part, shape in zip(_split(vector, shapes), shapes, strict=True):
        if len(shape) < 2:
            parts.append(part)
            continue
        u, s, v = torch.linalg.svd(part.reshape(shape[0], -1), full_matrices=False)
        rank = max(1, int(share * len(s) + 1e-9))
        parts.append(((u[:, :rank] * s[:rank]) @ v[:rank]).flatten())
    return torch.cat(parts)


def pack(vector: Tensor, shapes: Shapes, energy: float) -> tuple[Tensor, Tensor]:
    """Return parameters with each matrix as two factors, where those have fewer numbers.

    Parameters
    ----------
    vector : Tensor
        ``[size]``.
    shapes : sequence of tuple
        Of the tensors that it holds.
    energy : float
        Share of the squared singular values that is kept, in (0, 1].

    Returns
    -------
    values, mask : Tensor
        ``[size]`` float32 and bool: the factors of an ``m x n`` matrix take the first
        ``rank * (m + n)`` of its places. Only what is inside the mask needs to travel.

    Examples
    --------
    >>> values, mask = pack(torch.ones(9), [(3, 3)], 0.95)
    >>> int(mask.sum())
    6
    >>> unpack(values, mask, [(3, 3)]).round(decimals=4)
    tensor([1., 1., 1., 1., 1., 1., 1., 1., 1.])
    """
    values, used = [], []
    for part, shape in zip(_split(vector, shapes), shapes, strict=True):
        kept = part
        if len(shape) > 1:
            u, s, v = torch.linalg.svd(part.reshape(shape[0], -1), full_matrices=False)
            rank = rank_for(energy, s)
            if rank * (u.shape[0] + v.shape[1]) < len(part):
                kept = torch.cat([(u[:, :rank] * s[:rank]).flatten(), v[:rank].flatten()])
        values.append(torch.cat([kept, kept.new_zeros(len(part) - len(kept))]))
        used.append(torch.arange(len(part)) < len(kept))
    return torch.cat(values), torch.cat(used)


def unpack(values: Tensor, mask: Tensor, shapes: Shapes) -> Tensor:
    """Return the parameters ``[size]`` that `pack` made values and mask of, but for what it cut.

    Raises
    ------
    ValueError
        If no parameters could have given such a mask.
    """
    parts = []
    split = zip(_split(values, shapes), mask.split([prod(s) for s in shapes]), shapes, strict=True)
    for part, places, shape in split:
        count = int(places.sum())
        if count == len(part):
            parts.append(part)
            continue
        rows = shape[0] if len(shape) > 1 else 1
        columns = len(part) // rows
        rank, rest = divmod(count, rows + columns)
        if len(shape) < 2 or rest or not bool(places[:count].all()):
            raise ValueError(f"{count} of {len(part)} numbers are no factors of a {shape} tensor")
        left, right = part[:count].split([rank * rows, rank * columns])
        parts.append((left.reshape(rows, rank) @ right.reshape(rank, columns)).flatten())
    return torch.cat(parts)


def _split(vector: Tensor, shapes: Shapes) -> list[Tensor]:
    """Return the tensors in a vector, each in fresh memory: its alignment may decide a last bit."""
    return [part.clone() for part in vector.split([prod(shape) for shape in shapes])]
