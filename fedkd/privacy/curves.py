"""Renyi divergences of noise mechanisms, from ``dp-accounting``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ConfigError


def library() -> Any:
    """Return ``dp_accounting``.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import dp_accounting
        import dp_accounting.pld
        import dp_accounting.rdp
    except ImportError as error:
        problem = "needs dp-accounting; pip install fedkd[privacy]"
        raise ConfigError("privacy", "epsilon", problem) from error
    return dp_accounting


@lru_cache(maxsize=1)
def orders() -> np.ndarray:
    """Return the Renyi orders of ``dp-accounting``."""
    return np.array(library().rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS, np.float64)


def event(noise: str, multiplier: float, rate: float = 1.0) -> Any:
    """Return a release (`fedkd.privacy.accounting.Release`) as ``dp-accounting`` has it."""
    dp = library()
    if noise == "laplace":
        return dp.LaplaceDpEvent(multiplier)
    plain = dp.GaussianDpEvent(multiplier)
    return plain if rate == 1 else dp.PoissonSampledDpEvent(rate, plain)


@lru_cache(maxsize=1024)
def curve(noise: str, multiplier: float, rate: float = 1.0) -> np.ndarray:
    """Return the Renyi divergences of one release, at `orders`.

    Examples
    --------
    >>> bool(np.allclose(curve("gaussian", 2.0), orders() / 8))
    True
    """
    dp = library()

    class Curve(dp.rdp.RdpAccountant):  # type: ignore[name-defined]
        @property
        def divergences(self) -> np.ndarray:
            return np.array(self._rdp)

    spent = Curve()
    with _quiet():
        spent.compose(event(noise, multiplier, rate))
    return spent.divergences


def epsilon_of(divergences: Any, delta: float) -> float:
    """Return the epsilon of Renyi divergences at `orders`."""
    return float(library().rdp.compute_epsilon(orders(), divergences, delta)[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep quiet about Renyi orders that do not converge: they are left out, which is safe."""
    logger = logging.getLogger("absl")
    logger.addFilter(_serious)
    try:
        yield
    finally:
        logger.removeFilter(_serious)


def _serious(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING
