"""Data given as Python objects: arrays, tensors, data frames, `datasets`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .columns import Choice
from .decode import TEST_SPLITS, Raw, Source, arrays, decoded
from .fingerprint import of_dataset, of_json, of_raw


def is_data(given: Any) -> bool:
    """Say whether `given` is data; names, folders and groups of settings are not."""
    if isinstance(given, str | Path):
        return False
    parts = list(given.values()) if isinstance(given, Mapping) else []
    is_splits = "DatasetDict" in type(given).__name__ or any(hasattr(p, "features") for p in parts)
    return is_splits or not isinstance(given, Mapping)


def is_pair(part: Any) -> bool:
    """Say whether `part` is ``(x, y)`` and not an ``x`` or ``y`` of two samples."""
    if not isinstance(part, list | tuple) or len(part) != 2:
        return False
    return all(isinstance(one, list | tuple) or getattr(one, "ndim", 0) for one in part)


def from_arrays(parts: tuple[Any, ...], key: str, choice: Choice) -> Source:
    """Return ``(x, y)`` or ``(x, y, x_test, y_test)``, checked; columns are matched by name."""
    raws = {"train": arrays(parts[0], parts[1], key, choice)}
    if len(parts) == 4:
        columns = raws["train"].columns
        choice = columns.again(choice) if columns else choice
        raws["test"] = arrays(parts[2], parts[3], key, choice)
        if (raws["test"].columns is None) != (columns is None):
            raise ConfigError(key, "arrays", "of train and test one has column names; give both")
    fingerprint = of_json([of_raw(raw) for raw in raws.values()])
    return Source("arrays", fingerprint, lambda scratch: raws, named=False)


def from_datasets(data: Any, key: str, choice: Choice) -> Source:
    """Return a `datasets.Dataset` or splits of them, known by their content.

    Raises
    ------
    ConfigError
        If there is no train split, or a split is a stream or has a transform.
    """
    splits = dict(data) if isinstance(data, Mapping) else {"train": data}
    kind = type(data).__name__
    if "train" not in splits:
        raise ConfigError(key, kind, "has no train split", [str(k) for k in splits])
    chosen = {"train": splits["train"]}
    test = next((splits[name] for name in TEST_SPLITS if name in splits), None)
    if test is not None:
        chosen["test"] = test
    for name, part in chosen.items():
        _check_dataset(part, f"{kind}, {name} split", key)
    fingerprint = of_json({name: of_dataset(part) for name, part in chosen.items()})

    def load(scratch: Path) -> dict[str, Raw]:
        return decoded(chosen, key, kind, choice, outside=True)

    return Source("dataset", fingerprint, load)


def _check_dataset(part: Any, shown: str, key: str) -> None:
    import datasets

    if not isinstance(part, datasets.Dataset):
        problem = f"is a {type(part).__name__}, no datasets.Dataset"
        if "Iterable" in type(part).__name__:
            problem += "; load it without streaming=True"
        raise ConfigError(key, shown, problem)
    if part.format["type"] == "custom":
        problem = "has a transform, which fedkd would leave out; apply it with map()"
        raise ConfigError(key, shown, problem)
