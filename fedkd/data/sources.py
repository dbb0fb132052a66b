"""Where data come from: embedded digits, a Parquet folder, the Hugging Face hub, user objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from .columns import Choice
from .decode import Raw, Source, arrays
from .folders import HUB, from_folder, load_hub, local_folder
from .objects import from_arrays, from_datasets, is_pair

CATALOGUE = ("digits", *HUB)
"""Every name that ``data=NAME`` knows."""

_ANY_NAME = "not a known data set and not a folder (a folder of Parquet files works too)"


def find(data: Any, key: str = "data", choice: Choice | None = None) -> Source:
    """Locate `data`, and hash its content; nothing is decoded.

    Parameters
    ----------
    data : str, Path, tuple of arrays, datasets.Dataset or datasets.DatasetDict
        A catalogue name (looked up in ``$FEDKD_DATA_DIR/<name>`` first, then on the hub), a folder
        of Parquet files in hub layout, ``(x, y)``, ``(x, y, x_test, y_test)``,
        ``((x, y), (x_test, y_test))`` or a loaded data set.
    key : str
        The configuration key that errors name.
    choice : Choice, optional
        What is known of its columns.

    Raises
    ------
    ConfigError
        If there is no such data set.

    Examples
    --------
    >>> find("digits").defaults["samples_per_client"]
    12
    >>> find("minst")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: data=minst: ...; did you mean 'mnist'? (allowed: cifar10, ...)
    """
    choice = choice or Choice()
    if isinstance(data, str | Path):
        return _find_named(str(data), key, choice)
    if isinstance(data, list | tuple) and len(data) == 2 and all(map(is_pair, data)):
        data = (*data[0], *data[1])
    if isinstance(data, list | tuple) and len(data) in (2, 4):
        return from_arrays(tuple(data), key, choice)
    if isinstance(data, Mapping) or hasattr(data, "features"):
        return from_datasets(data, key, choice)
    problem = (
        "must be a name, a folder, (x, y), (x, y, x_test, y_test), ((x, y), (x_test, y_test)) or a "
        "datasets.Dataset"
    )
    raise ConfigError(key, type(data).__name__, problem)


def _find_named(name: str, key: str, choice: Choice) -> Source:
    if not name.strip():  # as a path it would be the working directory
        raise ConfigError(key, name, _ANY_NAME, CATALOGUE)
    if name == "digits":
        defaults = {"samples_per_client": 12, "transfer_size": 200}
        return Source("digits", "sklearn", lambda _: _load_digits(choice), defaults, named=False)
    local = local_folder(name)
    if local.is_dir() and (name in HUB or not Path(name).expanduser().is_dir()):
        return from_folder(local, key, choice)
    if name in HUB:
        return Source(name, "hub", lambda scratch: load_hub(name, key, choice))
    if Path(name).expanduser().is_dir():
        return from_folder(Path(name).expanduser(), key, choice)
    raise ConfigError(key, name, _ANY_NAME, CATALOGUE)


def _load_digits(choice: Choice) -> dict[str, Raw]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"train": arrays(digits.images.astype(np.uint8), digits.target, choice=choice)}
