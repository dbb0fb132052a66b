"""Tensors that come one by one are put side by side, so that stacking them copies nothing."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class Shelf:
    """Places for tensors whose shapes are known before they come.

    Memory is taken as it is filled: a place where nothing comes costs nothing.

    Parameters
    ----------
    shapes : iterable of tuple of int
        The shape of each tensor that may come.

    Examples
    --------
    >>> shelf = Shelf([(2,), (2,), (2,)])
    >>> rows = [shelf.put(torch.tensor([1.0, 2.0])), shelf.put(torch.tensor([3.0, 4.0]))]
    >>> stacked = side_by_side(rows)
    >>> stacked
    tensor([[1., 2.],
            [3., 4.]])
    >>> stacked.data_ptr() == rows[0].data_ptr()
    True
    """

    def __init__(self, shapes: Iterable[Sequence[int]]) -> None:
        self._places = Counter(tuple(shape) for shape in shapes)
        self._slabs: dict[tuple[int, ...], Tensor] = {}
        self._taken: Counter[tuple[int, ...]] = Counter()

    def put(self, values: Tensor) -> Tensor:
        """Return a copy next to those of the same shape that came before.

        Raises
        ------
        IndexError
            If more come than were announced.
        """
        shape = tuple(values.shape)
        if shape not in self._slabs:
            self._slabs[shape] = torch.empty(self._places[shape], *shape, dtype=values.dtype)
        place = self._slabs[shape][self._taken[shape]]
        self._taken[shape] += 1
        return place.copy_(values)


def side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    """Return ``torch.stack(tensors)``: without a copy if they lie one after the other in memory."""
    first = tensors[0]
    size, start = first.numel(), first.data_ptr()
    home = first.untyped_storage().data_ptr()
    step = size * first.element_size()
    lined_up = size > 0 and all(
        one.data_ptr() == start + row * step
        and one.untyped_storage().data_ptr() == home
        and one.shape == first.shape
        and one.dtype == first.dtype
        and one.is_contiguous()
        for row, one in enumerate(tensors)
    )
    if not lined_up:
        return torch.stack(list(tensors))
    return first.as_strided((len(tensors), *first.shape), (size, *first.stride()))
