"""What Flower's strategies keep on the object between rounds, as tensors and back.

FedOpt keeps ``m_t``, ``v_t`` and ``current_arrays``, FedAvgM ``momentum_vector``: attributes that
are an ``ArrayRecord``, or a dict or list of arrays. They are found by their type.
"""

from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import Tensor

from ..knowledge import to_tensor


def save_attributes(inner: object) -> dict[str, Tensor]:
    """Return the arrays on a Flower strategy under ``attribute/kind/name``.

    Examples
    --------
    >>> class Inner: ...
    >>> inner = Inner()
    >>> inner.m_t, inner.eta = {"w": np.zeros(2)}, 0.1
    >>> list(save_attributes(inner))
    ['m_t/dict/w']
    """
    saved: dict[str, Tensor] = {}
    for attribute, value in vars(inner).items():
        if isinstance(value, ArrayRecord):
            saved |= {f"{attribute}/record/{k}": to_tensor(v) for k, v in value.items()}
        elif isinstance(value, dict) and value and _all_arrays(value.values()):
            saved |= {f"{attribute}/dict/{k}": _tensor(v) for k, v in value.items()}
        elif isinstance(value, list) and value and _all_arrays(value):
            saved |= {f"{attribute}/list/{i}": _tensor(v) for i, v in enumerate(value)}
    return saved


def load_attributes(inner: object, saved: dict[str, Tensor]) -> None:
    """Put back what `save_attributes` returned (in that order)."""
    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    for path, value in saved.items():
        attribute, kind, name = path.split("/", 2)
        found.setdefault((attribute, kind), {})[name] = value
    for (attribute, kind), values in found.items():
        setattr(inner, attribute, _MAKE[kind](values))


_MAKE: dict[str, Any] = {
    "record": ArrayRecord,
    "dict": lambda values: {name: value.numpy() for name, value in values.items()},
    "list": lambda values: [value.numpy() for value in values.values()],
}


def _all_arrays(values: Any) -> bool:
    return all(isinstance(value, np.ndarray | np.generic) for value in values)


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(np.array(value))
