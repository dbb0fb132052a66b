"""Deal samples with flwr-datasets' partitioners, over an index: no image is ever decoded."""

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, scoped, stream
from .enough import check_sizes
from .flower import partitioner as flower
from .partitioners import KEY, at_fault, checked, choose, keywords, parameters

_FAILURES = (ValueError, TypeError, KeyError, IndexError, AttributeError)


def partition(
    config: RunConfig,
    pool: pa.Table,
    samples_per_client: int | None,
    own: flower.Partitioner | None = None,
) -> list[NDArray[np.int64]]:
    """Deal the samples of `pool` to the clients.

    Parameters
    ----------
    config : RunConfig
        `clients`, `seed` and the `data` node are read.
    pool : pyarrow.Table
        A row per training sample that may be dealt: ``index``, ``label`` and any columns that a
        partitioner may use.
    samples_per_client : int or None
        Equal size of the partitions (``auto``, ``iid``), or their mean size (other short names).
    own : Partitioner, optional
        An object in place of ``data.partitioner``; it is not changed.

    Returns
    -------
    list of ndarray of int64
        The ``index`` values of each client, ascending; never empty.

    Raises
    ------
    ConfigError
        If the partitioner or a parameter is unknown, or the samples cannot be dealt like that.

    Examples
    --------
    >>> pool = pa.table({"index": range(60), "label": [0, 1, 2] * 20})
    >>> [len(p) for p in partition(RunConfig(clients=4), pool, samples_per_client=9)]
    [9, 9, 9, 9]
    """
    check_sizes(config, len(pool), samples_per_client)
    name, kind, given = choose(config, samples_per_client, own)
    # The pool arrives in file order; not every partitioner shuffles (IID and size ones do not).
    order = np.random.default_rng(stream(config.seed, SERVER, 0, "pool")).permutation(len(pool))
    if samples_per_client is not None and "partition_sizes" not in parameters(kind):
        order = order[: samples_per_client * config.population]
    rows = pool.take(order)
    # Some partitioners count on labels 0..C-1 with every class present.
    dense = np.unique(rows.column("label").to_numpy(), return_inverse=True)[1]
    rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(dense))
    made = (lambda: copy.deepcopy(own)) if own else kind
    arguments = {} if own else keywords(config, name, kind, given, samples_per_client)
    parts = _deal(config, name, made, arguments, Dataset(rows))
    for client, part in enumerate(parts):
        if not len(part):
            problem = (
                f"leaves client {client} without samples; lower clients or give every client "
                "as many with data.samples_per_client"
            )
            raise ConfigError(KEY, name, problem)
    return parts


def count(own: flower.Partitioner, table: pa.Table) -> int:
    """Return how many clients a user's partitioner makes of a table with a ``label``.

    Raises
    ------
    ConfigError
        If it gives up.
    """
    name = type(own).__name__
    try:
        with _undisturbed(0):
            made = copy.deepcopy(checked(own))
            made.dataset = Dataset(table)
            return int(made.num_partitions)
    except _FAILURES as error:
        reason = " ".join(str(error).split())
        raise ConfigError(KEY, name, f"cannot say how many clients it makes: {reason}") from error


def _deal(
    config: RunConfig,
    name: str,
    kind: Callable[..., flower.Partitioner],
    arguments: dict[str, Any],
    rows: Dataset,
) -> list[NDArray[np.int64]]:
    by = arguments.get("partition_by")
    if isinstance(by, str) and by not in rows.column_names:
        columns = set(rows.column_names) - {"index"}
        raise ConfigError(f"{KEY}.partition_by", by, "no such column", columns)
    try:
        with _undisturbed(stream(config.seed, SERVER, 0, "partition")):
            made = kind(**arguments)
            made.dataset = rows
            count = made.num_partitions
            if count == config.population:
                return [_indices(made.load_partition(k)) for k in range(count)]
    except _FAILURES as error:
        raise _refusal(config, name, kind, len(rows), error) from error
    problem = f"{name} makes {count} partitions: set it to that"
    raise ConfigError("clients", config.population, problem)


def _indices(part: Dataset) -> NDArray[np.int64]:
    # Ascending, so that a client's batches do not depend on how a partitioner enumerates.
    return np.sort(np.asarray(part.with_format("numpy")["index"][:], dtype=np.int64))


def _refusal(config: RunConfig, name: str, kind: Any, size: int, error: Exception) -> ConfigError:
    """Say which key to change when a partitioner gave up."""
    if kind is flower.DirichletPartitioner and "max number of attempts" in str(error):
        problem = (
            f"no split of {size} samples over {config.population} clients gave everyone that many "
            "in 10 draws; raise data.alpha, lower clients, or set data.samples_per_client"
        )
        return ConfigError("data.min_partition_size", config.data.min_partition_size, problem)
    if kind is flower.InnerDirichletPartitioner and "NaN" in str(error):
        problem = "so skewed that a client's classes ran out of samples; raise it"
        return ConfigError("data.alpha", config.data.alpha, problem)
    reason = " ".join(str(error).split())
    problem = f"cannot deal {size} samples to {config.population}: {reason}"
    return ConfigError(*at_fault(config.data.partitioner, name, error), problem)


@contextmanager
def _undisturbed(seed: int) -> Iterator[None]:
    """Shield the run from what partitioners do besides: global RNG, warnings, progress bars."""
    with scoped(seed), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
