"""Encoded pictures to arrays: all of them decide what they become, not the first."""

import io
import warnings
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ConfigError

_GREY = ("1", "L", "LA", "La")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_UNREADABLE = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError)


class Pictures:
    """Pictures as they come, in one array: grey as long as all are, else RGB.

    Parameters
    ----------
    count : int
        How many will come.
    key, shown
        What errors name.
    """

    def __init__(self, count: int, key: str, shown: object) -> None:
        self.count, self.key, self.shown = count, key, shown
        self.modes: Counter[str] = Counter()
        self._clear = 0
        self.pixels: NDArray[np.uint8] | None = None
        self._size = (0, 0)

    def add(self, cell: Any, outside: bool) -> None:
        """Decode the next one: ``{"bytes": ..., "path": ...}``; `outside`: a path may be opened.

        A picture of PIL is taken as it is.

        Raises
        ------
        ConfigError
            If it cannot be read, or is of another size than the others.
        """
        row = self.modes.total()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of transparency, which `seen` tells
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                made = isinstance(cell, Image.Image)
                picture = cell if made else Image.open(_source(cell, outside))
                self._check(picture, row)
                self._put(picture, row)
        except (*_UNREADABLE, Image.DecompressionBombError, Warning) as error:
            problem = f"image in row {row} cannot be read: {error}"
            raise ConfigError(self.key, self.shown, problem) from error
        except MemoryError as error:
            problem = f"{self.count} pictures of {self._size[::-1]} pixels do not fit into memory"
            raise ConfigError(self.key, self.shown, problem) from error

    def _check(self, picture: Image.Image, row: int) -> None:
        if picture.mode.startswith(("I", "F")):
            raise OSError("more than 8 bits a channel")
        if not row:
            self._size = picture.size
        if picture.size != self._size:
            first, here = self._size[::-1], picture.size[::-1]
            where = (
                f"row {row}, {name}" if (name := getattr(picture, "filename", "")) else f"row {row}"
            )
            problem = f"images differ in size: {first} and {here} ({where}); make them alike"
            raise ConfigError(self.key, self.shown, problem)

    def _put(self, picture: Image.Image, row: int) -> None:
        grey = picture.mode in _GREY
        if self.pixels is None:
            shape = (self.count, *self._size[::-1], *(() if grey else (3,)))
            self.pixels = np.empty(shape, np.uint8)
        if self.pixels.ndim == 3 and not grey:
            self.pixels = np.repeat(self.pixels[..., None], 3, axis=3)
        mode = "L" if self.pixels.ndim == 3 else "RGB"
        self.pixels[row] = np.asarray(picture if picture.mode == mode else picture.convert(mode))
        self.modes[picture.mode] += 1
        self._clear += picture.mode in _WITH_ALPHA or "transparency" in picture.info

    @property
    def seen(self) -> str:
        """What the pictures were, where they were not all alike or lost something."""
        alike = len({mode in _GREY for mode in self.modes}) == 1
        found = [] if alike else [f"{self._grey()} grey ones as RGB"]
        found += [f"{self._clear} without their transparency"] if self._clear else []
        return f" ({', '.join(found)})" if found else ""

    def _grey(self) -> int:
        return sum(self.modes[mode] for mode in _GREY)


def _source(cell: Any, outside: bool) -> Any:
    if cell is None:
        raise OSError("missing")
    held = cell if isinstance(cell, bytes) else cell["bytes"]
    if held:
        return io.BytesIO(held)
    path = None if isinstance(cell, bytes) else cell["path"]
    if not path:
        raise OSError("missing")
    if not outside:
        raise OSError("the file holds no picture, only a path")
    return path
