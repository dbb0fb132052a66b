"""The short names of partitioners. Looking at them imports nothing that deals."""

from ..errors import ConfigError
from ..plugins.loading import is_code

KEY = "data.partitioner"

DEALERS = ("auto", "iid", "dirichlet", "pathological", "shard")
"""Names that ``data.partitioner`` knows; ``auto`` chooses by alpha and samples_per_client."""


def refuse_unknown(name: str) -> None:
    """Refuse a partitioner's name that is neither a short one nor code.

    Examples
    --------
    >>> refuse_unknown("shard")
    >>> refuse_unknown("shards")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: data.partitioner=shards: no such partitioner ...
    """
    if not is_code(name) and name not in DEALERS:
        problem = "no such partitioner (any other one: data.partitioner=module:Class)"
        raise ConfigError(KEY, name, problem, DEALERS)
