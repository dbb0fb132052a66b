"""Samples of its own that each client is tested on (``data.test=local``)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import stream
from .corpus import Corpus
from .holding import Holding, Rows
from .sampling import proportional

SHARE = 0.2
"""Of a client's samples, where ``data.test_share`` does not say."""


def own_tests(
    config: RunConfig,
    corpus: Corpus,
    holding: Holding | None,
    shares: list[Rows],
    public: Rows,
) -> tuple[list[Rows], dict[str, Any]]:
    """Return what is left of the clients' samples, and what each of them is tested on.

    Parameters
    ----------
    config : RunConfig
    corpus : Corpus
    holding : Holding or None
        The clients that come with the data; they may have samples in the test split.
    shares : list of ndarray of int64
        Rows of the training split.
    public : ndarray of int64
        Rows of that split which are transfer samples; nobody is tested on them, nor on samples that
        another client holds, too.

    Returns
    -------
    shares : list of ndarray of int64
        At least one sample each.
    kept : dict
        For ``split.npz``: ``test`` with its offsets, and ``test_split``, whose rows these are;
        nothing unless ``data.test=local``. A client with one sample has none to be tested on.

    Raises
    ------
    ConfigError
        If nobody has any.
    """
    if config.data.test != "local":
        return shares, {}
    tests = None if holding is None or config.data.test_share else holding.tests
    if tests is not None:
        return shares, packed("test", tests) | {"test_split": np.array("test")}
    holders = np.bincount(np.concatenate([*shares, public]), minlength=len(corpus.y_train))
    tests = [_drawn(config, corpus, k, rows, holders[rows] == 1) for k, rows in enumerate(shares)]
    if not any(map(len, tests)):
        problem = "no client has two samples of its own, one to learn from and one to be tested on"
        raise ConfigError("data.test", "local", problem)
    left = [np.setdiff1d(*pair) for pair in zip(shares, tests, strict=True)]
    return left, packed("test", tests) | {"test_split": np.array("train")}


def packed(name: str, each: Sequence[Rows]) -> dict[str, Rows]:
    """Return every client's rows as one array, with the offsets where each one's begin."""
    return {name: np.concatenate(each), f"{name}_offsets": np.cumsum([0, *map(len, each)])}


def _drawn(
    config: RunConfig, corpus: Corpus, client: int, rows: Rows, alone: NDArray[np.bool_]
) -> Rows:
    """Draw a client's test samples, with the class shares of those that it holds alone."""
    share, own = config.data.test_share or SHARE, rows[alone]
    count = min(max(1, round(share * len(rows))), len(rows) - 1, len(own))
    seed = stream(config.seed, client, 0, "test")
    return own[proportional(corpus.groups_train[own], count, seed)]
