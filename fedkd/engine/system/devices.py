"""What each client computes and communicates with: drawn from the run's seed, or from a file."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from ...config import SystemConfig
from ...errors import ConfigError
from ...rng import share
from .files import LEAST, read


@dataclass(frozen=True)
class Device:
    """A client's device and its link to the server."""

    speed: float
    """floating-point operations a second, > 0"""
    bandwidth_up: float
    """bytes a second to the server, > 0"""
    bandwidth_down: float
    """bytes a second from the server, > 0"""
    availability: float = 1.0
    """chance that it can be reached in a round, in [0, 1]"""

    def seconds(self, operations: float, up: int, down: int) -> float:
        """Return how long it takes to be sent `down` bytes, to compute, and to send `up` bytes.

        Examples
        --------
        >>> Device(speed=1e9, bandwidth_up=1e6, bandwidth_down=2e6).seconds(5e8, 10**6, 10**6)
        2.0
        """
        return down / self.bandwidth_down + operations / self.speed + up / self.bandwidth_up


def uniform(share: float, spread: float) -> float:
    """Return the factor that a share in (0, 1) of all devices is below: of mean 1.

    Examples
    --------
    >>> uniform(0.5, 0.5), uniform(0.75, 0.5)
    (1.0, 1.25)
    """
    return 1 + spread * (2 * share - 1)


def lognormal(share: float, spread: float) -> float:
    """Return the factor that a share in (0, 1) of all devices is below: of median 1.

    Examples
    --------
    >>> lognormal(0.5, 0.5)
    1.0
    """
    return math.exp(spread * NormalDist().inv_cdf(share))


DRAWN: dict[str, Callable[[float, float], float]] = {"uniform": uniform, "lognormal": lognormal}
"""The distributions that ``system`` may name."""


def devices(config: SystemConfig, clients: int, seed: int) -> list[Device]:
    """Return each client's device; none where there is no virtual clock.

    A client's speed and its link are drawn independently of one another; its two bandwidths have
    the same factor. They do not depend on how many clients there are.

    Raises
    ------
    ConfigError
        For a file that cannot be used, or a spread that takes a number beyond all floats.

    Examples
    --------
    >>> made = devices(SystemConfig("lognormal", speed=1e9), 2, seed=0)
    >>> [f"{device.speed:.2e}" for device in made]
    ['3.69e+08', '7.99e+08']
    """
    if config.name is None:
        return []
    if config.name not in DRAWN:
        return [Device(**numbers) for numbers in read(Path(config.name).expanduser(), clients)]
    draw, found = DRAWN[config.name], []
    for client in range(clients):
        try:
            drawn = [share(seed, client, 0, f"system.{what}") for what in ("speed", "link")]
            fast, near = (draw(one, config.spread) for one in drawn)
        except OverflowError:
            fast = near = math.inf
        up, down = near * config.bandwidth_up, near * config.bandwidth_down
        if not all(LEAST <= number < math.inf for number in (fast * config.speed, up, down)):
            problem = f"client {client} would have a speed or bandwidth of 0 or infinity"
            raise ConfigError("system.spread", config.spread, problem)
        found.append(Device(fast * config.speed, up, down, config.availability))
    return found
