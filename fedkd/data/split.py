"""Decide who holds which samples in a run, and write it down for every worker process."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..atomic import replacing, write_text
from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, stream
from .corpus import Corpus
from .dealing import dealt
from .enough import check_sizes, check_tested
from .federation import Federation
from .sampling import proportional
from .text import FILE as TOKENIZER


def build_federation(
    config: RunConfig, corpus: Corpus, transfer_corpus: Corpus | None, out: Path | str
) -> Federation:
    """Draw the transfer set, deal the other training samples to the clients and write both down.

    Parameters
    ----------
    config : RunConfig
    corpus : Corpus
        The clients' data and the test split.
    transfer_corpus : Corpus or None
        Where transfer samples come from; None = training samples of `corpus` that no client gets.
    out : path
        Directory that receives ``split.npz``, and ``tokenizer.json`` where samples are texts.

    Raises
    ------
    ConfigError
        If the samples cannot be dealt as the configuration asks.

    Examples
    --------
    >>> import tempfile
    >>> from fedkd.data import prepare
    >>> with tempfile.TemporaryDirectory() as out:
    ...     federation = build_federation(RunConfig(), prepare("digits"), None, out)
    ...     federation.transfer_size, set(federation.sizes.tolist())
    (200, {12})
    """
    check_samples(config, corpus, transfer_corpus)
    source = _source(corpus, transfer_corpus)
    own = source is corpus
    transfer = _draw_transfer(config, source)
    labels = np.asarray(corpus.y_train)
    pool = np.setdiff1d(np.arange(len(labels)), transfer if own else [])
    each = _samples_per_client(config, corpus, len(pool))
    held: dict[str, Any] = {"transfer": transfer, "samples_per_client": np.int64(each or 0)}
    parts = [_hold_out(config, k, p) for k, p in enumerate(_partition(config, corpus, pool, each))]
    for name, chunks in zip(("train", "validation"), zip(*parts, strict=True), strict=True):
        held[name] = np.concatenate(chunks)
        held[f"{name}_offsets"] = np.cumsum([0, *map(len, chunks)])
    held["histogram"] = np.stack([_counts(corpus, np.concatenate(pair)) for pair in parts])
    held["class_names"] = np.array(corpus.class_names)
    held["content"] = np.array([corpus.content, source.content])  # a resume compares it
    path = Path(out).resolve() / "split.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as staged, staged.open("wb") as file:  # savez appends .npz to a path
        np.savez(file, **held)
    if corpus.tokenizer:
        write_text(path.with_name(TOKENIZER), corpus.tokenizer)
    return Federation(corpus, source, path)


def check_samples(config: RunConfig, corpus: Corpus, transfer_corpus: Corpus | None) -> None:
    """Refuse what `build_federation` would refuse, as far as it can be told without dealing.

    Raises
    ------
    ConfigError
        If the transfer set does not fit the clients' data, or there are too few samples.
    """
    source = _source(corpus, transfer_corpus)
    _check_transfer(config, corpus, source)
    taken = _transfer_size(config, source) if source is corpus else 0
    left = len(corpus.y_train) - taken
    check_sizes(config, left, _samples_per_client(config, corpus, left))
    check_tested(config, corpus)


def _source(corpus: Corpus, transfer_corpus: Corpus | None) -> Corpus:
    """Return where transfer samples come from."""
    own = transfer_corpus is None or transfer_corpus.path == corpus.path
    return corpus if own or transfer_corpus is None else transfer_corpus


def _counts(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(corpus.y_train[rows], minlength=corpus.classes)


def _check_transfer(config: RunConfig, corpus: Corpus, source: Corpus) -> None:
    transfer = config.transfer
    if source.shape != corpus.shape:
        problem = f"its samples are {source.shape} and those of the clients {corpus.shape}"
        raise ConfigError("transfer.data", transfer.data or source.name, problem)
    if (source.features is None) != (corpus.features is None):
        problem = (
            f"of it and {corpus.name} one has column names, so which column is which cannot be "
            "told; give both or neither"
        )
        raise ConfigError("transfer.data", transfer.data or source.name, problem)
    if transfer.labelled and source.class_names != corpus.class_names:
        problem = f"the classes of {source.name} are not those of {corpus.name}"
        raise ConfigError("transfer.labelled", True, problem)
    size, available = _transfer_size(config, source), len(source.y_train)
    if size > available or (source is corpus and size == available):
        problem = f"the training split of {source.name} has {available} samples"
        if source is corpus:
            problem += " and the clients need some"
        raise ConfigError("transfer.size", size, problem)
    if transfer.per_round is not None and transfer.per_round > size:
        problem = f"more than the transfer set holds ({size})"
        raise ConfigError("transfer.per_round", transfer.per_round, problem)


def _transfer_size(config: RunConfig, source: Corpus) -> int:
    size: int = config.transfer.size or source.defaults["transfer_size"]
    return size


def _draw_transfer(config: RunConfig, source: Corpus) -> NDArray[np.int64]:
    size = _transfer_size(config, source)
    seed = stream(config.seed, SERVER, 0, "transfer")
    return proportional(np.asarray(source.y_train), size, seed)


def _samples_per_client(config: RunConfig, corpus: Corpus, pool: int) -> int | None:
    """Return the user's number, else the data set's default as far as the samples go."""
    if config.data.samples_per_client is not None:
        return config.data.samples_per_client
    default = corpus.defaults.get("samples_per_client")
    node = config.data.partitioner
    if default is None or "_target_" in node or node.get("name", "auto") not in ("auto", "iid"):
        return None
    return min(default, max(1, pool // config.clients))


def _partition(
    config: RunConfig, corpus: Corpus, pool: NDArray[np.int64], each: int | None
) -> list[NDArray[np.int64]]:
    table = corpus.columns("train")
    columns = {name: table.column(name).take(pool) for name in table.column_names}
    columns |= {"index": pa.array(pool), "label": pa.array(corpus.y_train[pool])}
    return dealt(config, pa.table(columns), each, corpus.path.parent / "deals")


def _hold_out(
    config: RunConfig, client: int, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split a client's rows into training and validation; training keeps at least one."""
    count = min(int(config.data.validation * len(rows)), len(rows) - 1)
    rng = np.random.default_rng(stream(config.seed, client, 0, "validation"))
    held = np.sort(rng.choice(rows, count, replace=False))
    return np.setdiff1d(rows, held), held
