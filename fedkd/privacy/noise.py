"""Where noise comes from: a seeded stream in a simulation, the operating system in earnest.

Neither hardens a mechanism against attacks on the floating-point numbers that carry the noise
(Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012).
"""

import secrets

import numpy as np
import torch
from torch import Tensor

Source = torch.Generator | None
"""A run's stream, or None for the operating system. Who knows a stream's seed can take its noise
off again: seeded noise is for simulation, not for deployment."""


def uniform(shape: tuple[int, ...], source: Source) -> Tensor:
    """Return independent numbers of (0, 1), float64.

    Examples
    --------
    >>> numbers = uniform((2, 3), None)
    >>> numbers.shape, bool(((numbers > 0) & (numbers < 1)).all())
    (torch.Size([2, 3]), True)
    """
    if source is not None:
        drawn = torch.rand(shape, generator=source, dtype=torch.float64)
        return drawn.clamp_min(2.0**-54)
    data = secrets.token_bytes(8 * int(np.prod(shape)))
    bits = np.frombuffer(data, np.uint64) >> np.uint64(11)
    return torch.from_numpy(((bits + 0.5) / 2.0**53).clip(max=1 - 2.0**-53)).reshape(shape)


def normal(shape: tuple[int, ...], source: Source) -> Tensor:
    """Return independent standard normal numbers, float64."""
    if source is not None:
        return torch.randn(shape, generator=source, dtype=torch.float64)
    return torch.special.ndtri(uniform(shape, None))


def laplace(shape: tuple[int, ...], source: Source) -> Tensor:
    """Return independent Laplace numbers of scale 1 (density ``exp(-|x|) / 2``), float64."""
    centred = uniform(shape, source) - 0.5
    return -centred.sign() * torch.log1p(-2 * centred.abs())
