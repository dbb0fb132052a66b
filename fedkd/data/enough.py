"""Whether there are enough samples, said before anything takes seconds."""

from ..config import RunConfig
from ..errors import ConfigError


def check_sizes(config: RunConfig, size: int, each: int | None) -> None:
    """Refuse to deal `size` samples, `each` to a client if that is given, if they are too few."""
    if config.clients > size:
        problem = f"more clients than training samples ({size} after the transfer set)"
        raise ConfigError("clients", config.clients, problem)
    if each is not None and each * config.clients > size:
        problem = (
            f"{config.clients} clients would need {each * config.clients} samples and there are "
            f"{size}; at most {size // config.clients} each"
        )
        raise ConfigError("data.samples_per_client", each, problem)
