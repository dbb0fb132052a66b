"""Decode a data set once into a directory that `Corpus.open` maps, safely under races."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config import DataConfig, RunConfig
from ..config.samples import NOISE
from ..errors import ConfigError
from .cache import cache_root, intact, publish, scratch_folder, seal
from .columns import Choice, target_told
from .corpus import PLACES, Corpus
from .decode import Raw, Source
from .encoding import encode
from .fingerprint import of_json
from .noise import noise
from .objects import is_per_client
from .sampling import proportional
from .sources import find, refuse_texts
from .targets import bin_names, binned, described, told
from .text import FILE, Text, encoded
from .windows import TRANSFER, owned, refuse_unfit, windowed

_LAYOUT = 4  # raise when the files below change
_TEST_SHARE, _TEST_SEED = 0.2, 0  # of a data set without a test split


def corpora(
    config: RunConfig, data: Any = None, transfer: Any = None, targets: str | None = None
) -> tuple[Corpus, Corpus | None]:
    """Open the clients' data set and the transfer set's, whose columns are found by name.

    Parameters
    ----------
    config : RunConfig
        `data` and `transfer` are read.
    data : optional
        A Python object in place of ``data.name``.
    transfer : optional
        A Python object in place of ``transfer.data``.
    targets : {"classes", "numbers", "tokens"}, optional
        What the task takes labels for; None = it follows from them.

    Returns
    -------
    corpus : Corpus
    other : Corpus or None
        What ``transfer.data`` names; None if transfer samples come from the clients' data.

    Raises
    ------
    ConfigError
        If one is not found or cannot be used, or the transfer set lacks columns; if the data are
        those of so many clients, and `config` has another number.
    """
    refuse_texts(data, "data", targets)
    own = len(data) if is_per_client(data) else config.clients
    if isinstance(config.clients, int) and own != config.clients:
        problem = f"data is a list of {own}, one per client; leave it out, or give that"
        raise ConfigError("clients", config.clients, problem)
    if targets == "tokens":
        refuse_unfit(config)
    choice, data = _choice(config, targets), config.data.name if data is None else data
    corpus = prepare(data, choice=choice)
    if corpus.vocabulary is None:
        _refuse_unused(config.data, corpus.name)
    if corpus.encoding is None and choice.standardise is not None:
        problem = f"the samples of {corpus.name} are no table with columns; leave it out"
        raise ConfigError("data.standardise", choice.standardise, problem)
    given = config.transfer.data if transfer is None else transfer
    if given is None or (isinstance(given, str) and not given):
        return corpus, None
    if isinstance(given, str) and given == NOISE:
        return corpus, noise(corpus, config)
    features, encoding = tuple(corpus.features or ()) or None, corpus.encoding
    known = replace(choice, strict=False, optional=True, features=features, encoding=encoding)
    other = prepare(given, key="transfer.data", choice=known)
    if corpus.tokenizer and other.tokenizer and corpus.path != other.path:
        text = replace(choice.text, tokenizer=other.tokenizer)  # of public texts, and one for both
        corpus = prepare(data, choice=replace(choice, text=text))
    return corpus, other


def _choice(config: RunConfig, targets: str | None) -> Choice:
    """Return what the configuration says of the columns."""
    by, named = config.data.partitioner.get("partition_by"), config.data.features
    apart = [*(by if isinstance(by, list) else [by]), config.data.client]
    _check_label(config)
    label = config.data.label
    return Choice(
        tuple(label) if isinstance(label, list) else label,
        None if named is None else tuple(named),
        apart=tuple(str(name) for name in apart if name is not None),
        targets=targets,
        standardise=config.data.standardise,
        text=_text(config.data, targets == "tokens"),
    )


def _check_label(config: RunConfig) -> None:
    """Refuse a label that is neither a column nor a list of different ones."""
    label = config.data.label
    names = label if isinstance(label, list) else [label or ""]
    text = all(isinstance(name, str) for name in names)
    if not text or len(set(names)) < len(names) or (isinstance(label, list) and len(label) < 2):
        raise ConfigError("data.label", label, "must name a column, or several different ones")


def _text(data: DataConfig, windows: bool) -> Text:
    """Return how texts become tokens; knowledge of each place of a window is a vocabulary wide."""
    usual = Text(vocabulary=512, length=64) if windows else Text()
    size, length = data.vocabulary or usual.vocabulary, data.length or usual.length
    return Text(data.text, size, length)


def _refuse_unused(data: DataConfig, name: str) -> None:
    """Refuse settings of texts where the samples are none."""
    for key in ("vocabulary", "length"):
        value = getattr(data, key)
        if value not in (None, getattr(Text(), key)):  # as earlier versions wrote them down
            raise ConfigError(f"data.{key}", value, f"the samples of {name} are no texts")


def prepare(
    data: Any, cache: Path | str | None = None, key: str = "data", choice: Choice | None = None
) -> Corpus:
    """Decode a data set unless that was done before, and open it.

    Parameters
    ----------
    data : str, Path or a Python object
        See `fedkd.data.sources.find`. A data set without a test split gets a stratified one, the
        same whatever the run's seed.
    cache : path, optional
        Where decoded data sets are kept; default ``$FEDKD_CACHE_DIR``, else
        ``$XDG_CACHE_HOME/fedkd``, else ``~/.cache/fedkd``. One that is damaged is made anew.
    key : str
        The configuration key that errors name.
    choice : Choice, optional
        What is known of its columns.

    Raises
    ------
    ConfigError
        If the data set is not found or cannot be used.

    Examples
    --------
    >>> corpus = prepare("digits")
    >>> corpus.shape, corpus.classes, len(corpus.y_test)
    ((1, 8, 8), 10, 359)
    """
    choice = choice or Choice()
    source = find(data, key, choice)
    for name, column in {"label": choice.label, "text": choice.text.column}.items():
        if column is not None and choice.strict and not source.named:
            problem = f"{source.name} has no columns; leave it out"
            raise ConfigError(f"data.{name}", column, problem)
    root = cache_root(cache)
    about = of_json([source.fingerprint, choice.decisive])
    target = root / f"{source.name}-{about[:16]}-{_LAYOUT}"
    if not intact(target) or (choice.strict and not Corpus.open(target).as_asked):
        with scratch_folder(root) as scratch:
            staged = scratch / "corpus"
            staged.mkdir()
            shown = data if isinstance(data, str | Path) else source.name
            _write(staged, source, source.load(scratch), key, shown, choice)
            if source.again and source.again() != source.fingerprint:
                problem = "changes while it is read; run again when it is ready"
                raise ConfigError(key, data, problem)
            publish(staged, target)
    corpus = Corpus.open(target)
    if choice.named and not source.named and corpus.features is None:
        problem = f"{source.name} has no columns; leave it out"
        raise ConfigError("data.features", list(choice.named), problem)
    if choice.targets == "classes" and corpus.targets.numeric:
        problem = "labels are real numbers, no classes; use task=regression, or whole numbers"
        raise ConfigError(key, source.name, problem)
    return corpus


def _write(
    path: Path,
    source: Source,
    splits: dict[str, Raw],
    key: str,
    shown: object,
    choice: Choice,
) -> None:
    owners = list(filter(None, [*choice.apart, source.client]))
    windows = choice.targets == "tokens"
    if "test" not in splits:
        splits, rest = _split(splits["train"], source.client, owners if windows else [])
        if not windows:
            pq.write_table(pa.table({"row": rest}), path / PLACES)
    train, test = splits["train"], splits["test"]
    given = len(train), len(test)
    encoding = encode(splits, choice, key, shown)
    _match_classes(train, test)
    _check_alike(train, test, str(shown), key)
    tokens, size = (
        windowed(path, splits, choice.text, owners, key, str(shown))
        if windows
        else _tokenised(path, splits, choice.text)
    )
    names, targets = train.class_names, None
    if train.numeric:
        columns = train.labels or [f"target {place}" for place in range(train.y[0].size)]
        targets = described(train.y, columns if train.y[0].size > 1 or train.labels else ["target"])
        names = bin_names(targets["edges"])
    elif names is None:
        known = np.unique(np.concatenate([train.y, test.y]))
        names = [str(value) for value in known]
        train.y, test.y = np.searchsorted(known, train.y), np.searchsorted(known, test.y)
    numeric = train.numeric or windows
    for split, raw in splits.items():
        np.save(path / f"x_{split}.npy", np.ascontiguousarray(raw.x))
        np.save(path / f"y_{split}.npy", raw.y if numeric else raw.y.astype(np.int64))
        pq.write_table(raw.table, path / f"columns_{split}.parquet")
    images = train.x.dtype == np.uint8
    mean, std = _moments(train.x) if images else (None, None)
    usual = TRANSFER if windows else 1000
    meta: dict[str, Any] = {
        "name": source.name,
        "class_names": names,
        "shape": _shape(train.x) if images else train.x.shape[1:],
        "defaults": {"transfer_size": max(1, min(usual, len(train.y) // 4))} | source.defaults,
        "mean": mean,
        "std": std,
        "features": None if encoding is None else [*encoding],
        "encoding": encoding,
        "note": None,
        "labelled": train.labelled,
        "as_asked": _as_asked(train, choice),
        "client": source.client,
        "targets": targets,
        "vocabulary": size,
        "windows": windows,
    }
    notes = [tokens, None if targets is None else told(targets)]
    if train.columns is not None and not train.columns.plain:
        rows = f"{given[0]} training and {given[1]} test rows"
        what = target_told(train.y, [] if targets else names) if train.labelled else "no labels"
        what = "next tokens" if windows else what
        notes = [f"{what}, {rows}", train.columns.told(), *notes]
    meta["note"] = "; ".join(filter(None, notes)) or None
    seal(path, meta)


def _as_asked(train: Raw, choice: Choice) -> bool:
    """Say whether a split has its label, and the columns that `choice` names are what it names."""
    label, text, columns = choice.label, choice.text.column, train.columns
    names = label if isinstance(label, tuple) else (label,)
    if not train.labelled or (label is not None and train.labels and names != train.labels):
        return False
    return text is None or columns is None or columns.features == (text,)


def _tokenised(path: Path, splits: dict[str, Raw], text: Text) -> tuple[str | None, int | None]:
    """Put token ids in the place of texts, and write the tokenizer; return note and vocabulary."""
    if splits["train"].x.dtype != object:
        return None, None
    ids, tokenizer, told = encoded({name: raw.x for name, raw in splits.items()}, text)
    for name, raw in splits.items():
        raw.x = ids[name]
    tokenizer.save(str(path / FILE))
    return told, tokenizer.get_vocab_size()


def _match_classes(train: Raw, test: Raw) -> None:
    """Give a class one number in both splits, where names say which is which."""
    if not train.class_names or not test.class_names or train.class_names == test.class_names:
        return
    whole = list(dict.fromkeys([*train.class_names, *test.class_names]))
    for raw in (train, test):
        assert raw.class_names is not None  # just looked at
        raw.y = np.array([whole.index(name) for name in raw.class_names])[raw.y]
        raw.class_names = whole


def _check_alike(train: Raw, test: Raw, name: str, key: str) -> None:
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        seen = [f"{raw.x.dtype} {raw.x.shape[1:]}" for raw in (train, test)]
        problem = f"train {seen[0]} and test {seen[1]} samples differ in shape or type"
        raise ConfigError(key, name, problem)
    if train.class_names != test.class_names:
        problem = "of the train and test splits one has names of classes or one-hot labels, and "
        raise ConfigError(key, name, f"{problem}the other has not; give one kind")
    if train.y.shape[1:] != test.y.shape[1:]:
        seen = [f"{list(raw.y.shape[1:]) or 1}" for raw in (train, test)]
        raise ConfigError(key, name, f"train has {seen[0]} and test {seen[1]} targets a sample")
    if _is_text(train.y) != _is_text(test.y):
        raise ConfigError(key, name, "labels are numbers in one split and text in the other")


def _is_text(y: NDArray[Any]) -> bool:
    return y.dtype.kind not in "iuf"


def _split(
    whole: Raw, client: str | None, owners: list[str]
) -> tuple[dict[str, Raw], NDArray[np.int64]]:
    """Draw a test split: of each class, and of each client where they are known, its share.

    Return the splits, and the rows that the training split has of the whole.
    """
    if not whole.labelled:  # nothing could be measured on it
        every = np.arange(len(whole))
        return {"train": whole, "test": whole.take(every[:0])}, every
    if whole.numeric:
        codes = binned(whole.y, described(whole.y, [])["edges"])
    else:
        _, codes = np.unique(whole.y, return_inverse=True)
        if set(owners) & set(whole.table.column_names):
            codes, client = owned(whole.table, owners, len(whole)), None
    if client is not None:
        codes = codes + (codes.max() + 1) * whole.table.column(client).to_numpy()
    test = proportional(codes, round(len(codes) * _TEST_SHARE), _TEST_SEED)
    rest = np.setdiff1d(np.arange(len(codes)), test)
    return {"train": whole.take(rest), "test": whole.take(test)}, rest


def _shape(images: NDArray[np.uint8]) -> tuple[int, ...]:
    return (images.shape[3] if images.ndim == 4 else 1, *images.shape[1:3])


def _moments(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and std per channel, exactly, from the histogram of the 256 pixel values."""
    channels = images.reshape(-1, images.shape[3]).T if images.ndim == 4 else images.reshape(1, -1)
    levels = np.arange(256) / 255
    mean, std = [], []
    for channel in channels:
        share = np.bincount(channel, minlength=256) / channel.size
        mean.append(float(share @ levels))
        std.append(float(np.sqrt(share @ (levels - mean[-1]) ** 2)) or 1.0)
    return mean, std
