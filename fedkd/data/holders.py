"""Whether the data say who holds what: natural clients, a data set for each, or row numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..config import DataConfig, RunConfig
from ..config.settings import CLIENTS
from ..errors import ConfigError
from .corpus import Corpus
from .dealing import dealable
from .holding import Holding
from .natural import natural
from .rownumbers import shares, shown


def find_holding(
    config: RunConfig, corpus: Corpus, given: Mapping[str, Any] | None = None
) -> Holding | None:
    """Return the clients that come with the data, or None if samples are dealt.

    Parameters
    ----------
    config : RunConfig
    corpus : Corpus
        The clients' data.
    given : mapping, optional
        Python objects in place of values, by their keys.

    Raises
    ------
    ConfigError
        If they cannot be told, or the configuration says beside it how samples are dealt.

    Examples
    --------
    >>> from fedkd.data import prepare
    >>> rows = {"north": [0, 1, 2], "south": [5, 9]}
    >>> holding = find_holding(RunConfig(), prepare("digits"), {"data.split": rows})
    >>> holding.names, len(holding.rows)
    (['north', 'south'], 2)
    """
    objects = given or {}
    own = corpus.client  # of data that were given as one set for each client
    split = objects.get("data.split", config.data.split)
    column = config.data.client or own
    if split is None and column is None:
        return None
    if own is not None and (split is not None or config.data.client):
        problem = "the list of data sets says who holds what; leave one of them out"
        about = (
            ("data.client", config.data.client) if split is None else ("data.split", shown(split))
        )
        raise ConfigError(*about, problem)
    key = f"data.client={column}" if config.data.client else "the list of data sets"
    refuse_dealing(config.data, key if split is None else "data.split")
    return natural(str(column), corpus, key) if split is None else _from_rows(split, corpus)


def numbered(
    config: RunConfig, corpus: Corpus, given: Mapping[str, Any] | None = None
) -> RunConfig:
    """Return the configuration with the number of clients that ``clients=auto`` stands for.

    Examples
    --------
    >>> from fedkd.data import prepare
    >>> config, rows = RunConfig(), [[0, 1, 2], [5, 9]]
    >>> numbered(config, prepare("digits"), {"data.split": rows}).clients
    2
    >>> numbered(config, prepare("digits")).clients
    100
    """
    if config.clients != "auto":
        return config
    holding = find_holding(config, corpus, given)
    if holding is not None:
        return replace(config, clients=len(holding.rows))
    partitioner = (given or {}).get("data.partitioner")
    if partitioner is None:
        return replace(config, clients=CLIENTS)
    from .partition import count

    every = dealable(corpus, np.arange(len(corpus.y_train)))
    return replace(config, clients=count(partitioner, every))


def refuse_dealing(data: DataConfig, holder: str) -> None:
    """Refuse keys that say how samples are dealt where somebody already holds them."""
    usual = DataConfig()
    keys = {
        "alpha": (usual.alpha, None),
        "partitioner": (usual.partitioner,),
        "samples_per_client": (None,),
        "min_partition_size": (usual.min_partition_size,),
    }
    for key, idle in keys.items():
        value = getattr(data, key)
        if value not in idle:
            value = value.get("_target_", value.get("name")) if isinstance(value, dict) else value
            problem = f"deals samples, and {holder} says who holds what; leave one of them out"
            raise ConfigError(f"data.{key}", value, problem)


def _from_rows(given: Any, corpus: Corpus) -> Holding:
    """Return the clients of ``data.split``, and what is worth saying of their rows."""
    names, rows, lost = shares(given, corpus)
    size, notes = len(corpus.y_train), []
    if lost:
        notes.append(f"{lost} of its rows are in the test split, which was drawn from the data")
    for client, own in enumerate(rows):
        if not len(own):
            who = names[client] if names else client
            problem = (
                f"client {who}: all of its rows are in the test split, which was drawn from the "
                "data; bring a test split of your own"
            )
            raise ConfigError("data.split", shown(given), problem)
    holders = np.bincount(np.concatenate(rows), minlength=size)
    if shared := int((holders > 1).sum()):
        notes.append(f"{shared} of {size} training samples are held by more than one client")
    if gaps := int((holders == 0).sum()):
        notes.append(f"{gaps} of {size} training samples are held by no client")
    told = [f"data.split: {note}" for note in notes]
    return Holding("data.split", names, rows, np.flatnonzero(holders == 0), notes=told)
