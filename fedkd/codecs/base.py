"""What a codec is. Subclass `Codec` and define `encode` and `decode` to write one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

Parts = dict[str, np.ndarray]
"""Arrays that together stand for a tensor, by name."""

HALF_MAX = 65504.0
"""The largest finite float16."""


class Undecodable(ValueError):
    """What came cannot be decoded; the text is the reason."""


class Codec(ABC):
    """Makes a float32 tensor smaller, and back; what is lost, the class says.

    It knows nothing of messages: `fedkd.codecs.compression` says which arrays of a message it is
    used for.

    Parameters
    ----------
    up, down : bool
        Whether it is used for what clients send, and for what they are sent.

    Attributes
    ----------
    kinds : tuple of str or None
        The kinds of knowledge that it makes sense for; None = all.
    by_row : bool
        Whether the numbers of a row share a scale.
    """

    kinds: tuple[str, ...] | None = None
    by_row: bool = False

    def __init__(self, *, up: bool = True, down: bool = True) -> None:
        self.up, self.down = up, down

    def downward(self) -> "Codec":
        """Return the codec for what clients are sent; by default this one."""
        return self

    def kept(self, width: int) -> int:
        """Return how many of a row's `width` numbers come back each as it was, or nearly.

        The others come back as one and the same. By default all are kept.
        """
        return width

    def fits(self, values: Tensor) -> bool:
        """Tell whether a tensor can be encoded; one that cannot travels as it is.

        By default all numbers must be within the range of float16, which NaN and infinity are not.
        """
        return bool(values.abs().max() <= HALF_MAX)

    @abstractmethod
    def encode(self, values: Tensor) -> Parts:
        """Return arrays that stand for a float32 tensor, of at least one number, that `fits`."""

    @abstractmethod
    def decode(self, parts: Mapping[str, np.ndarray], limit: int) -> Tensor:
        """Return the float32 tensor that arrays stand for.

        Parameters
        ----------
        parts : mapping
            Perhaps made by somebody hostile.
        limit : int
            Numbers that the result may have.

        Raises
        ------
        Undecodable
            If they are not what `encode` makes, or stand for too much.
        """


def part(parts: Mapping[str, np.ndarray], name: str, kind: type, *shape: int) -> np.ndarray:
    """Return one of the arrays, if it is of this type and, where one is given, this shape.

    Raises
    ------
    Undecodable
        If it is not.
    """
    found = parts.get(name)
    if found is None:
        raise Undecodable(f"{name} is missing")
    if found.dtype != np.dtype(kind):
        raise Undecodable(f"{name} is {found.dtype}, expected {np.dtype(kind)}")
    if shape and found.shape != shape:
        raise Undecodable(f"{name} is {list(found.shape)}, expected {list(shape)}")
    return found


def shape_of(parts: Mapping[str, np.ndarray], limit: int) -> tuple[int, ...]:
    """Return the shape that the array ``shape`` says.

    Raises
    ------
    Undecodable
        If it says none, or one of more than `limit` numbers.

    Examples
    --------
    >>> shape_of({"shape": np.array([2, 3], np.int32)}, limit=6)
    (2, 3)
    >>> shape_of({"shape": np.array([2, 3], np.int32)}, limit=5)
    Traceback (most recent call last):
        ...
    fedkd.codecs.base.Undecodable: stands for 6 numbers, expected at most 5
    """
    told = part(parts, "shape", np.int32)
    if told.ndim != 1 or not 1 <= len(told) <= 8 or bool((told < 1).any()):
        raise Undecodable("shape is no shape")
    shape = tuple(int(size) for size in told)
    if prod(shape) > limit:
        raise Undecodable(f"stands for {prod(shape)} numbers, expected at most {limit}")
    return shape


def shape_part(values: Any) -> np.ndarray:
    """Return the array that `shape_of` reads."""
    return np.array(values.shape, np.int32)
