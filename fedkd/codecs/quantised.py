"""Uniform quantisation: a few bits a number, between two ends.

Formula, with ``L = 2^bits - 1`` and a row that runs from ``low`` to ``high``::

    code_c    = round( (p_c - low) / (high - low) * L )
    decoded_c = low + code_c / L * (high - low)

``low`` and ``high`` are the row's smallest and largest number, rounded outwards to float16, so the
error is at most ``(high - low) / (2 L)``. A tensor of two dimensions has its own rows, unless they
are single numbers; all others are cut into rows of at most 256 numbers.

With ``scale=unit`` the ends are 0 and 1 and need not be sent. Rows become the nearest ones that sum
to 1 (`fedkd.codecs.quantisation`): with 1 bit the one-hot row of the likeliest class. Those that
are such rows already pass unchanged.
"""

from collections.abc import Mapping
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .base import Codec, Parts, part, shape_of, shape_part
from .quantisation import quantised

ROW = 256
"""Numbers at most in a row of what has no rows of its own."""


class Quantised(Codec):
    """Rounds to evenly spaced numbers; for every kind of knowledge.

    Parameters
    ----------
    bits : int
        Bits a number, 1 to 16.
    scale : {"row", "unit"}
        Between each row's smallest and largest number, or between 0 and 1 (soft labels only).
    bits_down : int or None
        Bits a number of what clients are sent, 1 to 16; None = `bits`.
    **ways
        See `Codec`.

    Examples
    --------
    >>> codec = Quantised(bits=2)
    >>> codec.decode(codec.encode(torch.tensor([[0.0, 1.0, 2.0, 2.9, 3.0]])), limit=5)
    tensor([[0., 1., 2., 3., 3.]])
    """

    def __init__(
        self,
        bits: int = 8,
        scale: Literal["row", "unit"] = "row",
        bits_down: int | None = None,
        **ways: bool,
    ) -> None:
        super().__init__(**ways)
        self.bits, self.bits_down, self.scale = bits, bits_down or bits, scale
        for name, value in {"bits": bits, "bits_down": self.bits_down}.items():
            if not 1 <= value <= 16:
                raise ValueError(f"{name}={value} must be 1 to 16")
        self.by_row = scale == "row"
        self.kinds = None if scale == "row" else ("soft_labels",)

    def downward(self) -> Codec:
        """Return one with the bits of that direction."""
        return Quantised(self.bits_down, self.scale)

    def fits(self, values: Tensor) -> bool:
        """Take what lies between the ends."""
        inside = (values >= 0) & (values <= 1)
        unit = self.scale == "row" or (values.dim() == 2 and bool(inside.all()))
        return unit and super().fits(values)

    def encode(self, values: Tensor) -> Parts:
        """Return ``codes``, packed row by row, ``shape``, and ``ends`` ``[rows, 2]`` if needed."""
        parts: Parts = {"shape": shape_part(values)}
        low, span, levels = np.zeros(1), np.ones(1), 2**self.bits - 1
        if self.scale == "unit":
            rows = quantised(values, self.bits).double().numpy()
        else:
            rows = _rows(values.double().numpy())
            parts["ends"] = np.stack([_down(rows.min(axis=1)), -_down(-rows.max(axis=1))], axis=1)
            low, span = _ends(parts["ends"])
        codes = np.rint((rows - low) / np.where(span == 0, 1, span) * levels)
        return parts | {"codes": _packed(codes.clip(0, levels).astype(np.uint16), self.bits)}

    def decode(self, parts: Mapping[str, np.ndarray], limit: int) -> Tensor:
        """Return the values."""
        shape = shape_of(parts, limit)
        count, width = _layout(shape)
        packed = part(parts, "codes", np.uint8, count, -(-width * self.bits // 8))
        low, span = np.zeros(1), np.ones(1)
        if self.scale == "row":
            low, span = _ends(part(parts, "ends", np.float16, count, 2))
        codes = _unpacked(packed, self.bits, width)
        values = low + codes.astype(np.float64) / (2**self.bits - 1) * span
        flat = values.astype(np.float32).reshape(-1)[: prod(shape)]
        return torch.from_numpy(flat.reshape(shape).copy())


def _layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of rows, and their width.

    Examples
    --------
    >>> _layout((20, 10)), _layout((300,)), _layout((8, 3, 5, 5))
    ((20, 10), (2, 150), (3, 200))
    >>> _layout((300, 1))
    (2, 150)
    """
    if len(shape) == 2 and shape[1] != 1:
        return shape[0], shape[1]
    rows = -(-prod(shape) // ROW)
    return rows, -(-prod(shape) // rows)


def _rows(values: np.ndarray) -> np.ndarray:
    """Return values as ``[rows, width]``; the last row is filled up with its last number."""
    flat, (rows, width) = values.reshape(-1), _layout(values.shape)
    return np.pad(flat, (0, rows * width - len(flat)), mode="edge").reshape(rows, width)


def _down(values: np.ndarray) -> np.ndarray:
    """Return the largest float16 that is not larger."""
    half = values.astype(np.float16)
    return np.where(half > values, np.nextafter(half, np.float16(-np.inf)), half)


def _ends(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where rows begin and how far they go, each ``[rows, 1]``."""
    low, high = ends.astype(np.float64).T
    return low[:, None], (high - low)[:, None]


def _packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return codes ``[rows, width]`` as bytes, each row from a byte of its own.

    Examples
    --------
    >>> _packed(np.array([[1, 2, 3]], np.uint16), bits=4)
    array([[18, 48]], dtype=uint8)
    """
    if bits == 8:
        return codes.astype(np.uint8)
    high_to_low = np.arange(bits - 1, -1, -1, dtype=np.uint16)
    each = (codes[:, :, None] >> high_to_low & 1).astype(np.uint8)
    return np.packbits(each.reshape(len(codes), -1), axis=1)


def _unpacked(packed: np.ndarray, bits: int, width: int) -> np.ndarray:
    """Return the codes ``[rows, width]`` that were packed."""
    if bits == 8:
        return packed
    each = np.unpackbits(packed, axis=1, count=width * bits).reshape(len(packed), width, bits)
    return each.astype(np.uint32) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.uint32))
