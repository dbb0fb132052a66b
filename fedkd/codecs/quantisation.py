"""Soft labels that need few bits: rows of whole multiples of ``1 / (2^bits - 1)`` that sum to 1."""

from torch import Tensor

BITS = (*range(1, 17), 32)
"""The numbers of bits that `quantised` knows; 32 leaves a row as it is."""


def quantised(p: Tensor, bits: int) -> Tensor:
    """Return the nearest rows whose entries are ``k / (2^bits - 1)`` and which sum to 1.

    Entries are rounded down and what is missing is given, a step at a time, to the largest
    remainders (of equal ones the first). No row of such entries that sums to 1 is nearer in
    Euclidean distance. With 1 bit that is the one-hot row of the largest entry.

    Parameters
    ----------
    p : Tensor
        ``[..., classes]``, rows on the simplex.
    bits : int
        One of `BITS`.

    Returns
    -------
    Tensor
        Of the shape of `p`, float32.

    Examples
    --------
    >>> import torch
    >>> quantised(torch.tensor([0.5, 0.3, 0.2]), 1)
    tensor([1., 0., 0.])
    >>> quantised(torch.tensor([0.5, 0.3, 0.2]), 2) * 3
    tensor([1., 1., 1.])
    """
    if bits not in BITS:
        raise ValueError(f"bits={bits} must be one of 1 to 16, or 32")
    return p if bits == 32 else stepped(p, 2**bits - 1)


def stepped(p: Tensor, steps: int) -> Tensor:
    """Return the nearest rows whose entries are ``k / steps`` and which sum to 1; see `quantised`.

    Examples
    --------
    >>> import torch
    >>> stepped(torch.tensor([0.44, 0.41, 0.15]), 10)
    tensor([0.4000, 0.4000, 0.2000])
    """
    scaled = p.double() * steps
    whole = scaled.floor()
    missing = (steps - whole.sum(dim=-1, keepdim=True)).round()
    order = (scaled - whole).sort(dim=-1, descending=True, stable=True).indices
    rank = order.argsort(dim=-1)
    return ((whole + (rank < missing)) / steps).float()
