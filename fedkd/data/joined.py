"""The data of each client, given one by one, as one data set that knows whose a sample is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import ConfigError
from .columns import Choice
from .decode import Raw, Source, decoded, quiet
from .fingerprint import of_json
from .loading import readable

CLIENT = "__client__"
"""The column that says whose a sample is, 0..N-1."""

Tables = list[dict[str, Any]]


def joined(sources: Sequence[Source], key: str, choice: Choice) -> Source:
    """Return the data of several clients as one data set, in their order.

    Its test split is those of all clients; one that has none is drawn from all clients alike.

    Parameters
    ----------
    sources : sequence of Source
        Of each client: all with columns that have names, or all arrays.
    key : str
        What errors name.
    choice : Choice
        What is known of their columns.

    Raises
    ------
    ConfigError
        When it is loaded, if they do not fit together: the first client that does not is named.
    """
    fingerprint = of_json([source.fingerprint for source in sources])
    named = [source.tables is not None for source in sources]
    if len(set(named)) > 1:
        odd = named.index(not named[0])
        problem = (
            "of it and client 0 one has columns with names, the other is arrays; give one kind"
        )
        raise ConfigError(key, f"client {odd}", problem)

    def load(scratch: Path) -> dict[str, Raw]:
        folders = [scratch / str(client) for client in range(len(sources))]
        for folder in folders:
            folder.mkdir()
        if not named[0]:
            return _raws(
                [one.load(folder) for one, folder in zip(sources, folders, strict=True)], key
            )
        given = [
            one.tables(folder)
            for one, folder in zip(sources, folders, strict=True)
            if one.tables is not None
        ]
        with quiet():
            whole = _tables(given, key)
        apart = replace(choice, apart=(*choice.apart, CLIENT))
        outside = any(source.outside for source in sources)
        raws = decoded(whole, key, "list", apart, outside=outside)
        columns = raws["train"].columns
        assert columns is not None  # only arrays have none
        left = {name: why for name, why in columns.left.items() if name != CLIENT}
        raws["train"].columns = replace(columns, left=left)  # it is ours, and no news
        return raws

    def again() -> str:
        return of_json([one.again() if one.again else one.fingerprint for one in sources])

    return Source("clients", fingerprint, load, named=named[0], client=CLIENT, again=again)


def _splits(given: Sequence[dict[str, Any]], key: str) -> list[str]:
    """Return the splits that all clients have; none of them may be empty."""
    for client, splits in enumerate(given):
        for name, split in splits.items():
            if not len(split):
                raise ConfigError(key, f"client {client}", f"has a {name} split without rows")
    tested = ["test" in one for one in given]
    if len(set(tested)) > 1:
        odd = tested.index(not tested[0])
        problem = f"has {'a' if tested[odd] else 'no'} test set, unlike client 0; give all or none"
        raise ConfigError(key, f"client {odd}", problem)
    return ["train", "test"] if tested[0] else ["train"]


def _owners(sizes: list[int]) -> pa.Array:
    return pa.array(np.repeat(np.arange(len(sizes)), sizes))


def _raws(given: list[dict[str, Raw]], key: str) -> dict[str, Raw]:
    return {split: _one([one[split] for one in given], key) for split in _splits(given, key)}


def _one(raws: list[Raw], key: str) -> Raw:
    """Return decoded arrays of several clients as those of one."""
    about = [(raw.x.dtype, raw.x.shape[1:]) for raw in raws]
    for client, raw in enumerate(raws):
        problem = ""
        if raw.columns is not None:
            problem = "has a frame beside its labels; put them into the frame, as column label"
        elif about[client] != about[0]:
            seen = [f"{kind} {shape}" for kind, shape in (about[client], about[0])]
            problem = f"its samples are {seen[0]} and those of client 0 {seen[1]}"
        elif (raw.class_names is None) != (raws[0].class_names is None):
            problem = "of it and client 0 one has one-hot labels; give one kind"
        elif (_labels(raw), raw.y.shape[1:]) != (_labels(raws[0]), raws[0].y.shape[1:]):
            seen = [
                f"{_labels(one)} {list(one.y.shape[1:]) or ''}".strip() for one in (raw, raws[0])
            ]
            problem = f"labels are {seen[0]} in it and {seen[1]} in client 0"
        if problem:
            raise ConfigError(key, f"client {client}", problem)
    x, y = (np.concatenate([getattr(raw, name) for raw in raws]) for name in "xy")
    table = pa.table({CLIENT: _owners([len(raw.y) for raw in raws])})
    names = [raw.class_names for raw in raws if raw.class_names is not None]
    return Raw(x, y, table, max(names, key=len, default=None))


def _labels(raw: Raw) -> str:
    """Return what decoded labels are."""
    if raw.numeric:
        return "real numbers"
    return "numbers" if raw.y.dtype.kind in "iu" else "text"


def _tables(given: Tables, key: str) -> dict[str, Any]:
    names = given[0]["train"].column_names
    splits = {split: [one[split] for one in given] for split in _splits(given, key)}
    for split, parts in splits.items():
        _check_columns(parts, names, split, key)
    return {split: _stack(parts, names, key) for split, parts in splits.items()}


def _check_columns(parts: list[Any], names: list[str], split: str, key: str) -> None:
    """Refuse columns that are not the first client's; a test split may have more of them."""
    for client, part in enumerate(parts):
        odd = sorted(set(names) ^ set(part.column_names))
        lost = sorted(set(names) - set(part.column_names))
        problem = f"its columns are not those of client 0: {', '.join(odd)}" if odd else ""
        if split == "test":
            problem = f"its test set lacks the columns {', '.join(lost)}" if lost else ""
        if problem:
            raise ConfigError(key, f"client {client}", problem)


def _stack(parts: list[Any], names: list[str], key: str) -> Any:
    """Return the tables of several clients as one, columns matched by name."""
    import datasets

    kinds = datasets.Features(
        {name: _kind([part.features[name] for part in parts], name, key) for name in names}
    )
    alike = []
    for client, part in enumerate(parts):
        with readable(key, f"client {client}"):  # a value may not fit the type that all have
            alike.append(_cast(part.select_columns(names), kinds))
    whole = datasets.concatenate_datasets(alike)
    return whole.add_column(CLIENT, _owners([len(part) for part in parts]).to_numpy())


def _cast(part: Any, kinds: Any) -> Any:
    """Return a table with columns of other types, classes by their names."""
    import datasets

    for name, kind in kinds.items():
        own = part.features[name]
        if isinstance(own, datasets.ClassLabel) and own.names != getattr(kind, "names", None):
            column = part.with_format("arrow")[:].column(name).to_pylist()
            words = [None if one is None else own.int2str(one) for one in column]
            kind_ = datasets.Features({name: datasets.Value("string")})
            spelt = datasets.Dataset.from_dict({name: words}, features=kind_)
            part = datasets.concatenate_datasets([part.remove_columns(name), spelt], axis=1)
    return part.select_columns(list(kinds)).cast(kinds)


def _kind(kinds: list[Any], name: str, key: str) -> Any:
    """Return the type that a column has with all clients."""
    import datasets

    known = [kind for kind in kinds if getattr(kind, "dtype", None) != "null"] or kinds
    if all(kind == known[0] for kind in known):
        return known[0]
    if all(isinstance(kind, datasets.ClassLabel) for kind in known):
        words = dict.fromkeys(word for kind in known for word in kind.names)
        return datasets.ClassLabel(names=list(words))
    if all(isinstance(kind, datasets.Value) for kind in known):
        types = {kind.dtype.removeprefix("large_") for kind in known}
        if types == {"string"}:
            return datasets.Value("large_string")
        if all(one.startswith(("int", "uint", "float", "bool", "decimal")) for one in types):
            real = any(one.startswith(("float", "decimal")) or one == "uint64" for one in types)
            return datasets.Value("float64" if real else "int64")
        if all(one.startswith(("timestamp", "date")) and "tz=" not in one for one in types):
            return datasets.Value("timestamp[us]")
    if all(isinstance(kind, datasets.List) and kind.length == known[0].length for kind in known):
        return datasets.List(_kind([kind.feature for kind in known], name, key), known[0].length)
    odd = next(client for client, kind in enumerate(kinds) if kind in known and kind != known[0])
    shown = [getattr(kind, "dtype", type(kind).__name__) for kind in (kinds[odd], known[0])]
    problem = f"its column {name!r} holds {shown[0]}, and that of others {shown[1]}"
    raise ConfigError(key, f"client {odd}", problem)
