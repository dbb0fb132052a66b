"""Decode a data set once into a directory that `Corpus.open` maps, safely under races."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import DataConfig, RunConfig
from ..config.samples import NOISE
from ..errors import ConfigError
from .cache import cache_root, intact, publish, scratch_folder
from .columns import Choice
from .corpus import Corpus
from .fingerprint import of_json
from .noise import noise
from .objects import is_per_client
from .sources import find, refuse_texts
from .text import Text
from .windows import refuse_unfit
from .writing import write

_LAYOUT = 4  # raise when the files below change


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
            write(staged, source, source.load(scratch), key, shown, choice)
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
