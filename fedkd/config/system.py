"""The keys of the virtual clock."""

from dataclasses import dataclass, fields
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from ..errors import ConfigError
from .checked import Checked


@dataclass
class SystemConfig(Checked):
    """The clients' devices, for a virtual clock beside the real one."""

    name: str | None = None
    """uniform or lognormal (drawn from the run's seed), or FILE.csv; null = no virtual clock"""
    speed: Annotated[float, Gt(0)] = 1e10
    """floating-point operations a second of a device: the mean (uniform) or median (lognormal)"""
    bandwidth_up: Annotated[float, Gt(0)] = 1.25e6
    """bytes a second from a client to the server, like speed"""
    bandwidth_down: Annotated[float, Gt(0)] = 5e6
    """bytes a second from the server to a client, like speed"""
    spread: Annotated[float, Ge(0)] = 0.5
    """half the width over the mean (uniform, below 1), or std of the logarithm (lognormal)"""
    availability: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """chance that a client can be reached in a round"""
    deadline: Annotated[float | None, Gt(0)] = None
    """virtual seconds of a training phase after which a reply is late; null = none"""

    def check(self, straggler: float) -> None:
        """Raise `ConfigError` for what cannot be used, or has no effect; `straggler` is a fault."""
        drawn, plain = ("uniform", "lognormal"), SystemConfig()
        table = bool(self.name) and str(self.name).endswith(".csv")
        if self.name is not None and self.name not in drawn and not table:
            raise ConfigError("system", self.name, "neither a distribution nor FILE.csv", drawn)
        for item in fields(self)[1:]:
            value, default = getattr(self, item.name), getattr(plain, item.name)
            if value != default and self.name is None:
                problem = "has no effect without a virtual clock; add system=uniform or another"
                raise ConfigError(f"system.{item.name}", value, problem)
            if value != default and table and item.name != "deadline":
                problem = f"has no effect, {self.name} says it for each client; leave it out"
                raise ConfigError(f"system.{item.name}", value, problem)
        if self.name == "uniform" and self.spread >= 1:
            problem = "must be below 1 for system=uniform, or some speeds would be 0"
            raise ConfigError("system.spread", self.spread, problem)
        if self.deadline is not None and straggler:
            problem = "replies are late by system.deadline already; leave one of them out"
            raise ConfigError("faults.straggler", straggler, problem)
