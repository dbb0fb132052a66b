"""Where data come from: embedded digits, files and folders, the hub, user objects."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from .catalogue import CATALOGUE, HUB
from .columns import Choice
from .decode import Raw, Source, arrays
from .folders import FILES, from_file, from_folder, from_hub, local_folder
from .frames import is_frame
from .joined import joined
from .objects import as_parts, as_samples, from_arrays, from_tables, is_per_client

_ANY_NAME = f"not a known data set, no file or folder (a folder of {FILES}, or one such file)"


def find(data: Any, key: str = "data", choice: Choice | None = None) -> Source:
    """Locate `data`, and hash its content; of files nothing is decoded.

    Parameters
    ----------
    data : str, Path, arrays, data frame, datasets.Dataset, torch Dataset, mapping or list
        A catalogue name (looked up in ``$FEDKD_DATA_DIR/<name>`` first, then on the hub); a Parquet
        or CSV file; a folder of such files, or of pictures in a folder for each class, with test
        splits named as on the hub; ``(x, y)``, ``(x, y, x_test, y_test)``,
        ``((x, y), (x_test, y_test))``; a data frame or a loaded data set with its label, splits of
        them by name, a map-style data set of torch; or a list of any of these, one per client. A
        list whose members are arrays is ``[x, y]`` or ``[x, y, x_test, y_test]``: a client's arrays
        in a list must be a tuple.
    key : str
        The configuration key that errors name.
    choice : Choice, optional
        What is known of its columns; where labels are `optional`, x alone will do, and a list is x,
        such as texts. Neither need running text have labels: ``(texts, None)``.

    Raises
    ------
    ConfigError
        If there is no such data set.

    Examples
    --------
    >>> find("digits").defaults["samples_per_client"]
    12
    >>> find([([[1.0], [2.0]], [0, 1]), ([[3.0], [4.0]], [1, 0])]).client
    '__client__'
    >>> find("minst")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: data=minst: ...; did you mean 'mnist'? (allowed: cifar10, ...)
    """
    choice = choice or Choice()
    if isinstance(data, str | Path):
        return _find_named(str(data), key, choice)
    if is_per_client(data) and not (choice.optional and _are_texts(data)):
        if choice.optional:
            problem = "is one set for all clients; give that, not a list"
            raise ConfigError(key, f"list[{len(data)}]", problem)
        refuse_texts(data, key, choice.targets)
        if isinstance(data[0], tuple) and len(data[0]) == 2 and np.isscalar(data[0][1]):
            problem = "its members seem to be samples; give (x, y) with all of them"
            raise ConfigError(key, f"list[{len(data)}]", problem)
        lists = [client for client, part in enumerate(data) if isinstance(part, list)]
        if lists:
            problem = "give the arrays of one client as a tuple (x, y)"
            raise ConfigError(f"{key}[{lists[0]}]", "list", problem)
        found = [find(part, f"{key}[{client}]", choice) for client, part in enumerate(data)]
        return joined(found, key, choice)
    if isinstance(data, Mapping) or is_frame(data) or hasattr(data, "features"):
        return from_tables(data, key, choice)
    plain = choice.optional or choice.targets == "tokens"
    parts = as_samples(data, key) if plain else as_parts(data, key)
    if parts[1] is None and not plain:
        raise ConfigError(key, type(data).__name__, "has no labels; its samples must be (x, y)")
    return from_arrays(parts, key, choice)


def refuse_texts(data: Any, key: str, targets: str | None) -> None:
    """Refuse texts where a list is one data set for each client."""
    if isinstance(data, list) and _are_texts(data) and any(" " in one for one in data):
        what = "None" if targets == "tokens" else "labels"
        problem = f"its members are texts, no files or names of data sets; give (texts, {what})"
        raise ConfigError(key, f"list[{len(data)}]", problem)


def _are_texts(data: Any) -> bool:
    """Say whether a list holds texts and names no data set."""
    if not all(isinstance(one, str) for one in data):
        return False
    return not any(name in CATALOGUE or place_of(name) or _local(name) for name in data)


def place_of(name: str) -> Path | None:
    """Return the file or folder that ``data=NAME`` itself is; None if it is looked up elsewhere.

    Examples
    --------
    >>> place_of("digits"), place_of("no-such-file.csv")
    (None, None)
    """
    if not name.strip() or name == "digits":  # "" as a path would be the working directory
        return None
    own = _path(name)
    if name in HUB or own is None or not (own.is_dir() or (own.is_file() and not _local(name))):
        return None
    return own


def _local(name: str) -> bool:
    try:
        return local_folder(name).is_dir()
    except (OSError, RuntimeError):
        return False


def _path(name: str) -> Path | None:
    """Return a name as a path, where something is there."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, a home of nobody
        return None


def _find_named(name: str, key: str, choice: Choice) -> Source:
    if name == "digits":
        defaults = {"samples_per_client": 12, "transfer_size": 200}
        return Source("digits", "sklearn", lambda _: _load_digits(choice), defaults, named=False)
    own = place_of(name)
    if own is not None:
        return from_folder(own, key, choice) if own.is_dir() else from_file(own, key, choice)
    if name.strip() and _local(name):
        return from_folder(local_folder(name), key, choice)
    refuse_nowhere(name, key)
    return from_hub(name, key, choice)


def refuse_nowhere(name: str, key: str) -> None:
    """Refuse the name of a data set that is nowhere, without looking into any."""
    if name in CATALOGUE or place_of(name) is not None or (name.strip() and _local(name)):
        return
    root = os.environ.get("FEDKD_DATA_DIR") or "not set"
    problem = f"{_ANY_NAME}, and no folder in $FEDKD_DATA_DIR ({root})"
    raise ConfigError(key, name, problem, CATALOGUE)


def _load_digits(choice: Choice) -> dict[str, Raw]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"train": arrays(digits.images.astype(np.uint8), digits.target, choice=choice)}
