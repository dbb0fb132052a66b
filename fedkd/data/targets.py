"""Labels that are numbers: read, described, and sorted into bins."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

BINS = 10
"""Intervals that numbers are sorted into, of equally many training samples each."""


def numbers(y: NDArray[Any], key: str, shown: object) -> NDArray[np.float32]:
    """Return labels as numbers ``[n]`` or ``[n, targets]``.

    Raises
    ------
    ConfigError
        If they are none, or some are missing or not finite.

    Examples
    --------
    >>> numbers(np.array([[1.5], [2.0]]), "data", "y")
    array([1.5, 2. ], dtype=float32)
    """
    try:
        found = np.asarray(y.tolist() if y.dtype == object else y)
        if found.dtype.kind not in "biuf" or found.ndim not in (1, 2) or not found.size:
            raise ValueError(f"of type {found.dtype} and shape {list(found.shape)}")
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        problem = f"labels are no numbers ({error}); use task=classification, or numbers"
        raise ConfigError(key, shown, problem) from error
    if not np.isfinite(found).all():
        problem = "labels are missing, or beyond what float32 holds (nan or inf)"
        raise ConfigError(key, shown, problem)
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def are_numbers(y: NDArray[Any]) -> bool:
    """Say whether labels can be nothing but numbers: real ones, or several a sample.

    Examples
    --------
    >>> are_numbers(np.array([1.0, 2.0])), are_numbers(np.array([1.0, 2.5]))
    (False, True)
    >>> are_numbers(np.array([[0, 1], [1, 0]])), are_numbers(np.array([[0.1, 3], [1, 0]]))
    (False, True)
    """
    if y.dtype == object:
        flat = y.ravel().tolist()
        if not all(isinstance(value, float | np.floating) for value in flat):
            return False
        y = np.array(flat).reshape(y.shape)
    if y.dtype.kind != "f" or y.ndim not in (1, 2):
        return False
    known = y[np.isfinite(y)]
    return bool((known != np.floor(known)).any())


def described(y: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
    """Return what is kept of training targets: names, mean, deviation, and the bins' edges.

    Bins are of the first column: quantiles of the training split, fewer where values are few.
    """
    columns = y.reshape(len(y), -1).astype(np.float64)
    inner = np.quantile(columns[:, 0], np.arange(1, BINS) / BINS, method="higher")
    edges = np.unique(inner[inner > columns[:, 0].min()])
    return {
        "names": list(names),
        "mean": columns.mean(axis=0).tolist(),
        "std": [float(std) or 1.0 for std in columns.std(axis=0)],
        "edges": edges.tolist(),
    }


def told(about: dict[str, Any]) -> str:
    """Return in words that targets are numbers, and how they are standardised.

    Examples
    --------
    >>> told({"names": ["price"], "mean": [3932.8], "std": [3989.4]})
    'target price standardised: mean 3933, deviation 3989'
    """
    columns = zip(about["names"], about["mean"], about["std"], strict=True)
    each = [
        f"{name} standardised: mean {mean:.4g}, deviation {std:.4g}" for name, mean, std in columns
    ]
    shown = ", ".join(each[:5]) + (f" and {len(each) - 5} more" if len(each) > 5 else "")
    return f"target{'s' if len(each) > 1 else ''} {shown}".replace("target target", "target")


def binned(y: NDArray[np.float32], edges: Sequence[float]) -> NDArray[np.int64]:
    """Return each sample's bin, by the first column of its targets, ``[n]``.

    Examples
    --------
    >>> binned(np.array([0.5, 1.0, 7.0], np.float32), [1.0, 2.0])
    array([0, 1, 2])
    """
    return np.searchsorted(edges, y if y.ndim == 1 else y[:, 0], side="right").astype(np.int64)


def bin_names(edges: Sequence[float]) -> list[str]:
    """Return what bins are called.

    Examples
    --------
    >>> bin_names([1.0, 2.5])
    ['< 1', '1 to 2.5', '>= 2.5']
    """
    if not edges:
        return ["all"]
    inner = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    return [f"< {edges[0]:.4g}", *inner, f">= {edges[-1]:.4g}"]
