"""Arrays that a user gave, checked: uint8 pictures, anything else features as given."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

_FEW = (1, 2, 3, 4)
"""Numbers of channels that pictures have."""
_CHANNELS_FIRST = "move the channels first: np.moveaxis(x, -1, 1)"


def as_array(given: Any, key: str, name: str, *, mixed: bool = False) -> NDArray[Any]:
    """Return tensors, lists, series and the like as a numpy array.

    Parameters
    ----------
    given : array-like
    key, name : str
        What errors name.
    mixed : bool
        Whether lists stay lists of objects, so that no number becomes text beside text.

    Raises
    ------
    ConfigError
        If they are none: unequal shapes, masked values.

    Examples
    --------
    >>> as_array([[1, 2], [3]], "data", "x")
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: data=x: its members differ in shape: (1,) and (2,)
    """
    try:
        given = _from_torch(given)
        if isinstance(given, list | tuple):
            given = [_from_torch(part) for part in given]
        if np.ma.is_masked(given):
            raise ConfigError(key, name, "has masked values; fill them first")
        found = np.asarray(given, dtype=object if mixed and isinstance(given, list) else None)
        if found.dtype == object and found.ndim and not mixed:
            found = np.asarray(found.tolist())
        return found
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        shapes = _shapes(given)
        problem = f"its members differ in shape: {' and '.join(shapes[:2])}"
        if len(shapes) < 2:
            problem = f"is no array ({str(error).splitlines()[0]})"
        raise ConfigError(key, name, problem) from error


def samples(x: NDArray[Any], key: str) -> NDArray[Any]:
    """Return uint8 ``[n, h, w(, c)]`` for pictures, float32 ``[n, ...]`` for anything else.

    Raises
    ------
    ConfigError
        If they are no finite numbers, or where the channels are cannot be told.
    """
    name = f"x {list(x.shape)} of {x.dtype}"
    if x.ndim < 2 or not x.size:
        raise ConfigError(key, name, "must be [samples, ...], and not empty")
    if x.dtype.kind not in "biuf":
        what = "text" if x.dtype.kind in "US" else str(x.dtype)
        what = f"{what}; give real and imaginary part" if x.dtype.kind == "c" else what
        raise ConfigError(key, name, f"must hold real numbers, not {what}")
    if x.dtype == np.uint8 and x.ndim in (3, 4):
        return _pictures(x, key, name)
    if x.ndim == 4 and _channels_last(x.shape):
        problem = f"looks like pictures with channels last; {_CHANNELS_FIRST}"
        raise ConfigError(key, name, problem)
    with np.errstate(over="ignore"):
        found = x.astype(np.float32)
    if not np.isfinite(found).all():
        raise ConfigError(key, name, "contains values that are not finite")
    return found


def _pictures(x: NDArray[np.uint8], key: str, name: str) -> NDArray[np.uint8]:
    if x.ndim == 3:
        return x
    axis = _channel_axis(x.shape)
    if axis is None:
        problem = (
            "where are the channels? [n, h, w, c] or [n, c, h, w] can be told with c up to 4, or "
            "where h = w; else give float32 with the channels first"
        )
        raise ConfigError(key, name, problem)
    x = np.moveaxis(x, axis, -1)
    return x[..., 0] if x.shape[3] == 1 else x


def _channel_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of four that holds the channels; None if it cannot be told.

    Examples
    --------
    >>> _channel_axis((9, 32, 32, 3)), _channel_axis((9, 5, 32, 32)), _channel_axis((9, 5, 6, 7))
    (3, 1, None)
    """
    few = [axis for axis in (1, 3) if shape[axis] in _FEW]
    if len(few) != 1:
        few = [axis for axis in (1, 3) if shape[2] == shape[4 - axis]]
    return few[0] if len(few) == 1 else None


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Say whether features of this shape can hardly be anything but pictures, channels last."""
    few = shape[3] in _FEW and shape[1] not in _FEW
    return few and (shape[3] > 2 or shape[1] == shape[2])


def _from_torch(given: Any) -> Any:
    if not hasattr(given, "detach"):
        return given
    tensor = given.detach().cpu()
    return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()[()]


def _shapes(given: Any) -> list[str]:
    try:
        return sorted({str(np.shape(part)) for part in given})
    except (TypeError, ValueError):
        return []
