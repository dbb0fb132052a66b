"""Which samples are the transfer set: drawn from those that no client holds, or given."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, stream
from .corpus import Corpus
from .holding import Holding, Rows
from .rownumbers import picked, shown
from .sampling import proportional


def transfer_rows(
    config: RunConfig, source: Corpus, holding: Holding | None, given: Mapping[str, Any]
) -> tuple[Rows, list[str]]:
    """Return the transfer samples' rows of a training split, and what is worth saying of them.

    Parameters
    ----------
    config : RunConfig
    source : Corpus
        Where they come from.
    holding : Holding or None
        The clients that come with these very samples, if there are any: of natural ones, each
        loses the same share of each class; of row numbers, none loses any.
    given : mapping
        Python objects in place of values, by their keys.

    Raises
    ------
    ConfigError
        If there are too few samples, or those given cannot be used.
    """
    split = given.get("transfer.split", config.transfer.split)
    if split is not None:
        return _given(split, config, source, holding)
    free = None if holding is None else holding.free
    size = config.transfer.size or source.defaults["transfer_size"]
    places = source.public if free is None else free
    available = len(places)
    problem = f"the training split of {source.name} has {available} samples"
    problem += " of full length" if source.targets.tokens else ""
    if free is not None:
        size = config.transfer.size or min(size, available)
        problem = (
            f"{available} training samples are held by no client of data.split; leave more out of "
            "it, or give transfer.data"
        )
    if size > available or not size:
        raise ConfigError("transfer.size", config.transfer.size or size, problem)
    labels = np.asarray(source.groups_train)
    if holding is not None and free is None:
        labels = _by_owner(labels, holding)
    seed = stream(config.seed, SERVER, 0, "transfer")
    return places[proportional(labels[places], size, seed)], []


def _given(
    split: Any, config: RunConfig, source: Corpus, holding: Holding | None
) -> tuple[Rows, list[str]]:
    rows, lost = picked(split, source)
    size, notes = config.transfer.size, []
    if lost:
        notes.append(f"{lost} of its rows are in the test split, which was drawn from the data")
    if size not in (None, len(rows)) or not len(rows):
        problem = f"has {len(rows)} training samples of {source.name}"
        problem += f", and transfer.size={size}; leave that out" if len(rows) else ""
        raise ConfigError("transfer.split", shown(split), problem)
    if holding is not None and holding.free is not None:
        held = np.setdiff1d(rows, holding.free)
        notes += [f"{len(held)} of its samples are held by clients, too"] * bool(len(held))
    return rows, [f"transfer.split: {note}" for note in notes]


def _by_owner(labels: NDArray[Any], holding: Holding) -> Rows:
    """Return strata for a draw: a client's samples of a class; those of nobody are one, too."""
    owner = np.zeros(len(labels), np.int64)
    for client, rows in enumerate(holding.rows, start=1):
        owner[rows] = client
    kinds = np.unique(labels, return_inverse=True)[1]
    return owner * (int(kinds.max()) + 1) + kinds
