"""Natural clients: a hospital, an author, a user for every value of a column."""

import math
from typing import Any

import numpy as np

from ..errors import ConfigError, one_line
from .corpus import Corpus
from .holding import Holding, Rows

SHOWN = 5
"""Clients that a note names."""


def natural(column: str, corpus: Corpus, key: str) -> Holding:
    """Return a client for every value of a column, in sorted order.

    Parameters
    ----------
    column : str
        In the table of the training split, and maybe of the test split: each client's own tests.
    corpus : Corpus
    key : str
        What says that it is the clients.

    Raises
    ------
    ConfigError
        If there is no such column, or training samples without a value.
    """
    names, codes = _values(column, corpus, "train")
    if missing := int((codes < 0).sum()):
        problem = f"{missing} training samples of {corpus.name} have no value; fill it in"
        raise ConfigError("data.client", column, problem)
    rows, tests = _grouped(codes, len(names)), None
    if column in corpus.columns("test").column_names:
        found, whose = _values(column, corpus, "test")
        there = dict(zip(found, _grouped(whose, len(found)), strict=True))
        none = np.zeros(0, np.int64)
        tests = [there.get(name, none) for name in names] if set(found) & set(names) else None
    called, sizes = [str(name) for name in names], [len(own) for own in rows]
    some = ", ".join(called[:SHOWN]) + (", ..." if len(called) > SHOWN else "")
    note = f"{key}: {len(rows)} clients ({some}) with {min(sizes)} to {max(sizes)} samples"
    unnamed = called == [str(k) for k in range(len(called))]
    return Holding(key, [] if unnamed else called, rows, None, tests, [one_line(note, 300)])


def _values(column: str, corpus: Corpus, split: str) -> tuple[list[Any], Rows]:
    """Return a column's values in sorted order, and which one every row has; -1 = none."""
    table = corpus.columns(split)
    if column not in table.column_names:
        problem = f"{corpus.name} has no such column"
        if not table.column_names:
            problem = f"{corpus.name} has no columns; give row numbers with data.split"
        raise ConfigError("data.client", column, problem, table.column_names)
    encoded = table.column(column).combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    told = (table.schema.field(column).metadata or {}).get(b"names")
    classes = None if told is None else told.decode().split("\0")
    known = [k for k, v in enumerate(values) if v >= 0] if classes else _there(values)
    known.sort(key=values.__getitem__)
    rank = np.full(len(values) + 1, -1)  # the last one is of those without a value
    rank[known] = np.arange(len(known))
    codes = rank[encoded.indices.fill_null(-1).to_numpy()]
    return [classes[values[k]] if classes else values[k] for k in known], codes


def _there(values: list[Any]) -> list[int]:
    """Return where there is a value: text, a date, or a number that is one."""
    nan = [isinstance(value, float) and math.isnan(value) for value in values]
    return [k for k, missing in enumerate(nan) if not missing]


def _grouped(codes: Rows, count: int) -> list[Rows]:
    """Return the rows of every code, ascending."""
    order = np.argsort(codes, kind="stable")
    ends = np.bincount(codes + 1, minlength=count + 1).cumsum()
    return np.split(order, ends)[1:-1]
