"""Inner products and cosines of all pairs of rows."""

import torch
from torch import Tensor

CHUNK = 256
"""Rows held in float64 at a time."""


def inner(rows: Tensor) -> Tensor:
    """Return the inner products of all pairs of rows ``[n, n]``, float64.

    Few rows at a time: float64 copies of all of them would take twice the memory that they take.

    Examples
    --------
    >>> inner(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    tensor([[5., 6.],
            [6., 9.]], dtype=torch.float64)
    """
    n = len(rows)
    products = torch.empty(n, n, dtype=torch.float64)
    for start in range(0, n, CHUNK):
        left = rows[start : start + CHUNK].double()
        for other in range(0, start + 1, CHUNK):
            part = left @ rows[other : other + CHUNK].double().T
            products[other : other + CHUNK, start : start + CHUNK] = part.T
            products[start : start + CHUNK, other : other + CHUNK] = part
    return products


def cosines(rows: Tensor) -> Tensor:
    """Return the cosines of all pairs of rows, none of which is 0, ``[n, n]`` float64.

    Examples
    --------
    >>> cosines(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    tensor([[1.0000, 0.6000],
            [0.6000, 1.0000]], dtype=torch.float64)
    """
    products = inner(rows)
    lengths = products.diagonal().sqrt()
    return products / lengths / lengths.unsqueeze(1)
