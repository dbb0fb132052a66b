"""Rows of predictions and of knowledge: a sample has one, or one for each of its places.

What a model returns for a sample has shape ``[*places, size]``: nothing before the size where a
sample is classified as a whole, ``[length, vocabulary]`` where the next token is predicted at every
place of a text. What travels is always two-dimensional: the rows of a sample follow one another,
and row ``r`` is about sample ``r // each``, `each` rows a sample.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ..knowledge import Target


def each_of(outputs: Sequence[int]) -> int:
    """Return how many rows a sample has, of what a model returns for it.

    Examples
    --------
    >>> each_of((10,)), each_of((64, 512))
    (1, 64)
    """
    return prod(outputs[:-1])


def rows_of(outputs: Tensor) -> Tensor:
    """Return what a model returns for samples ``[n, *places, size]`` as rows ``[rows, size]``.

    Examples
    --------
    >>> rows_of(torch.zeros(2, 3, 5)).shape, rows_of(torch.zeros(2, 5)).shape
    (torch.Size([6, 5]), torch.Size([2, 5]))
    """
    return outputs.flatten(0, -2) if outputs.dim() > 2 else outputs


def rows_at(samples: Tensor, each: int) -> Tensor:
    """Return the numbers of the rows of samples ``[n]``, in their order.

    Examples
    --------
    >>> rows_at(torch.tensor([4, 2]), 3), rows_at(torch.tensor([4, 2]), 1)
    (tensor([12, 13, 14,  6,  7,  8]), tensor([4, 2]))
    """
    if each == 1:
        return samples
    return (samples.unsqueeze(-1) * each + torch.arange(each, device=samples.device)).flatten()


def samples_at(rows: Tensor, each: int) -> Tensor:
    """Return the samples that rows are about: all rows of each, as `rows_at` has them.

    Examples
    --------
    >>> samples_at(rows_at(torch.tensor([4, 2]), 3), 3)
    tensor([4, 2])
    """
    return rows if each == 1 else rows[::each] // each


def by_sample(values: Tensor, each: int) -> Tensor:
    """Return rows ``[rows, ...]`` as ``[samples, each, ...]``; as they are where each has one.

    Examples
    --------
    >>> by_sample(torch.zeros(6, 5), 3).shape, by_sample(torch.zeros(2, 5), 1).shape
    (torch.Size([2, 3, 5]), torch.Size([2, 5]))
    """
    return values if each == 1 else values.unflatten(0, (-1, each))


def known(x: Tensor, ids: Tensor, target: Target, mask: Tensor) -> tuple[Tensor, Tensor, Target]:
    """Return the samples that have a teacher, with the ids and the teacher of their rows.

    Where samples have several rows, the target's mask says which of those have a teacher.

    Parameters
    ----------
    x, ids : Tensor
        ``[samples, *shape]`` and ``[rows]``.
    target : Target
        ``[rows, ...]``.
    mask : Tensor
        bool ``[rows]``.

    Examples
    --------
    >>> target, mask = Target(torch.eye(4)), torch.tensor([True, False, False, False])
    >>> x, ids, part = known(torch.zeros(2, 5), torch.arange(4), target, mask)
    >>> len(x), ids.tolist(), part.mask.tolist()
    (1, [0, 1], [True, False])
    """
    if len(ids) == len(x):
        return x[mask], ids[mask], target.part(target.values[mask])
    each = len(ids) // len(x)
    samples = torch.nonzero(by_sample(mask, each).any(dim=1)).flatten()
    rows = rows_at(samples, each)
    return x[samples], ids[rows], replace(target.part(target.values[rows]), mask=mask[rows])
