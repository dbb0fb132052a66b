"""Decide who holds which samples in a run, and write it down for every worker process."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..atomic import replacing, write_text
from ..config import RunConfig
from ..errors import ConfigError
from ..rng import stream
from .corpus import Corpus
from .dealing import dealable, dealt
from .enough import check_sizes, check_tested
from .federation import Federation
from .holders import find_holding, numbered
from .holding import Holding
from .mixing import check_mixup, mixed
from .testing import own_tests, packed
from .text import FILE as TOKENIZER
from .transfer import transfer_rows
from .views import Views, views_of
from .windows import refuse_unfit


class Settled(NamedTuple):
    """What is known before samples are dealt."""

    config: RunConfig
    """with the number of clients"""
    source: Corpus
    """where transfer samples come from"""
    holding: Holding | None
    """the clients that come with the data"""
    transfer: NDArray[np.int64]
    """the transfer samples"""
    notes: list[str]
    """what is worth saying"""
    views: Views | None = None
    """how views of the transfer samples are made"""


def build_federation(
    config: RunConfig,
    corpus: Corpus,
    transfer_corpus: Corpus | None,
    out: Path | str,
    given: Mapping[str, Any] | None = None,
    settled: Settled | None = None,
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
    given : mapping, optional
        Python objects in place of values, by their keys: ``data.split``, ``data.partitioner``,
        ``transfer.split``.
    settled : Settled, optional
        What `check_samples` returned of the same.

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
    given = given or {}
    settled = settled or check_samples(config, corpus, transfer_corpus, given)
    config, source, holding, transfer, notes, views = settled
    taken = transfer if source is corpus else np.zeros(0, np.int64)
    pool = np.setdiff1d(np.arange(len(corpus.y_train)), taken)
    each = None if holding else _samples_per_client(config, corpus, len(pool))
    held: dict[str, Any] = {"transfer": transfer, "samples_per_client": np.int64(each or 0)}
    if holding is not None:
        drawn = given.get("transfer.split", config.transfer.split) is None
        shares = holding.without(taken, "transfer.size" if drawn else "transfer.split")
        held |= {"held": np.array(holding.key)}
        held |= {"client_names": np.array(holding.names)} if holding.names else {}
    else:
        shares = _partition(config, corpus, pool, each, given.get("data.partitioner"))
    shares, tests = own_tests(config, corpus, holding, shares, taken)
    parts = [_hold_out(config, client, share) for client, share in enumerate(shares)]
    for name, chunks in zip(("train", "validation"), zip(*parts, strict=True), strict=True):
        held |= packed(name, chunks)
    held |= mixed(config.seed, config.transfer.mixup, len(transfer))
    held |= {} if views is None else views.packed()
    held |= tests | ({"notes": np.array(notes)} if notes else {})
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


def check_samples(
    config: RunConfig,
    corpus: Corpus,
    transfer_corpus: Corpus | None,
    given: Mapping[str, Any] | None = None,
) -> Settled:
    """Refuse what `build_federation` would refuse, as far as it can be told without dealing.

    Parameters are those of `build_federation`.

    Raises
    ------
    ConfigError
        If the transfer set does not fit the clients' data, or there are too few samples.
    """
    given = given or {}
    config, source = numbered(config, corpus, given), _source(corpus, transfer_corpus)
    if corpus.targets.tokens:
        refuse_unfit(config, given)
        config = replace(config, data=replace(config.data, alpha=None))
    holding, notes = find_holding(config, corpus, given), list[str]()
    if holding is not None:
        holding = holding.of(config)
        notes += holding.notes
    _check_transfer(config, corpus, source)
    about = holding if source is corpus else None
    transfer, told = transfer_rows(config, source, about, given)
    size, left = len(transfer), len(corpus.y_train)
    check_mixup(config, source, size)
    views = views_of(config, source)
    if holding is None:
        left -= size if source is corpus else 0
        if not left:
            problem = f"the training split of {source.name} has {size} samples"
            raise ConfigError("transfer.size", size, f"{problem} and the clients need some")
        check_sizes(config, left, _samples_per_client(config, corpus, left))
    if (config.transfer.per_round or 0) > size:
        problem = f"more than the transfer set holds ({size})"
        raise ConfigError("transfer.per_round", config.transfer.per_round, problem)
    check_tested(config, corpus)
    return Settled(config, source, holding, transfer, [*notes, *told], views)


def _source(corpus: Corpus, transfer_corpus: Corpus | None) -> Corpus:
    """Return where transfer samples come from."""
    own = transfer_corpus is None or transfer_corpus.content == corpus.content
    return corpus if own or transfer_corpus is None else transfer_corpus


def _counts(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(corpus.groups_train[rows], minlength=corpus.classes)


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
    if transfer.labelled and not source.labelled:
        problem = f"{source.name} has no labels, or several columns could be them; set it to false"
        raise ConfigError("transfer.labelled", True, problem)
    if (source.targets.tokens is None) != (corpus.targets.tokens is None):
        problem = f"of {source.name} and {corpus.name} one is running text; give two that are"
        raise ConfigError("transfer.data", transfer.data or source.name, problem)
    if transfer.labelled and source.targets.numeric != corpus.targets.numeric:
        problem = f"of {source.name} and {corpus.name} one has classes and one has numbers"
        raise ConfigError("transfer.labelled", True, problem)
    names = [one.targets.names for one in (source, corpus)]
    if transfer.labelled and names[0] != names[1]:
        what = "targets" if corpus.targets.numeric else "classes"
        problem = f"the {what} of {source.name} are not those of {corpus.name}"
        raise ConfigError("transfer.labelled", True, problem)


def _samples_per_client(config: RunConfig, corpus: Corpus, pool: int) -> int | None:
    """Return the user's number, else the data set's default as far as the samples go."""
    if config.data.samples_per_client is not None:
        return config.data.samples_per_client
    default = corpus.defaults.get("samples_per_client")
    node = config.data.partitioner
    if default is None or "_target_" in node or node.get("name", "auto") not in ("auto", "iid"):
        return None
    return min(default, max(1, pool // config.population))


def _partition(
    config: RunConfig, corpus: Corpus, pool: NDArray[np.int64], each: int | None, own: Any
) -> list[NDArray[np.int64]]:
    return dealt(config, dealable(corpus, pool), each, corpus.path.parent / "deals", own)


def _hold_out(
    config: RunConfig, client: int, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split a client's rows into training and validation; training keeps at least one."""
    count = min(int(config.data.validation * len(rows)), len(rows) - 1)
    rng = np.random.default_rng(stream(config.seed, client, 0, "validation"))
    held = np.sort(rng.choice(rows, count, replace=False))
    return np.setdiff1d(rows, held), held
