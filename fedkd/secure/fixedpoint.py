"""Numbers as integers of a few bits, so that they can be summed behind masks without rounding.

A number x becomes ``round(x * 2^f)`` modulo ``2^bits``, after x has been clipped to ``[-limit,
limit]``. The fraction f is as large as the sum of all parties allows::

    f = bits - 2 - floor(log2(parties * limit))

so that no sum reaches ``2^(bits - 1)``. Each party rounds by at most ``2^-(f+1)``: the sum of n is
off by at most ``n * 2^-(f+1)``, their mean by at most ``2^-(f+1)``, and a weighted mean ``sum w v /
sum w`` by at most ``(1 + |mean|) * n * 2^-(f+1) / sum w`` where both have a fraction of f. Sums of
integers do not depend on their order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.unsignedinteger]

TYPES: dict[int, type[np.unsignedinteger]] = {32: np.uint32, 64: np.uint64}
"""Integer types that wrap around, by their bits."""


@dataclass(frozen=True)
class Piece:
    """An array of a layout.

    Parameters
    ----------
    name : str
        What it is called.
    shape : tuple of int
        Its shape.
    limit : float
        Largest magnitude of an entry; what is beyond is clipped.
    """

    name: str
    shape: tuple[int, ...]
    limit: float

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def fraction(self, bits: int, parties: int) -> int:
        """Return f, the bits behind the point.

        Examples
        --------
        >>> Piece("values", (3,), 1.0).fraction(32, parties=100)
        24
        """
        return bits - 2 - math.floor(math.log2(parties * self.limit))


@dataclass(frozen=True)
class Layout:
    """Arrays, and how they become one vector of integers.

    Parameters
    ----------
    pieces : sequence of Piece
        The arrays, in order.
    bits : {32, 64}
        Size of an integer.
    parties : int
        How many vectors a sum has at most.

    Examples
    --------
    >>> layout = Layout([Piece("values", (2,), 1.0)], 32, parties=2)
    >>> one, _ = layout.encode({"values": np.array([0.25, -1.0])})
    >>> two, clipped = layout.encode({"values": np.array([0.5, 7.0])})
    >>> layout.decode(one + two)["values"], clipped
    (array([0.75, 0.  ]), 1)
    """

    pieces: Sequence[Piece]
    bits: int
    parties: int

    @cached_property
    def size(self) -> int:
        """Number of integers."""
        return sum(piece.size for piece in self.pieces)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of the integers."""
        return np.dtype(TYPES[self.bits])

    @property
    def fraction(self) -> int:
        """Bits behind the point of the coarsest array."""
        return min(piece.fraction(self.bits, self.parties) for piece in self.pieces)

    def encode(self, arrays: Mapping[str, NDArray[np.floating]]) -> tuple[Integers, int]:
        """Return the vector of integers ``[size]``, and how many entries were clipped.

        What is not a number becomes 0, and counts as clipped.
        """
        parts, clipped = [], 0
        for piece in self.pieces:
            given = arrays[piece.name].astype(np.float64).reshape(-1)
            clipped += int((~(np.abs(given) <= piece.limit)).sum())
            values = np.clip(np.nan_to_num(given, posinf=np.inf), -piece.limit, piece.limit)
            scaled = np.rint(np.ldexp(values, piece.fraction(self.bits, self.parties)))
            parts.append(scaled.astype(np.int64).astype(self.dtype))
        return np.concatenate(parts), clipped

    def decode(self, total: Integers) -> dict[str, NDArray[np.float64]]:
        """Return the arrays, float64, that a sum of vectors ``[size]`` stands for."""
        signed = total.view(np.dtype(f"i{self.dtype.itemsize}")).astype(np.float64)
        parts = np.split(signed, np.cumsum([piece.size for piece in self.pieces])[:-1])
        return {
            piece.name: np.ldexp(part, -piece.fraction(self.bits, self.parties)).reshape(
                piece.shape
            )
            for piece, part in zip(self.pieces, parts, strict=True)
        }
