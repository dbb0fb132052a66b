"""A table's rows as samples: its pictures, its arrays, or the columns that are features."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError
from .columns import Choice, Columns
from .given import as_array, samples
from .pictures import Pictures
from .recognising import as_dates, dated, identifies, numeric
from .roles import check_named, find_images, reason
from .text import texts_of
from .textual import find_text

CODE = "each row has its own; name it in data.features to use it"
"""Why a column that tells rows apart is no feature."""

_BATCH = 1000


def samples_of(
    dataset: Any, label: str | None, key: str, shown: object, choice: Choice, outside: bool = False
) -> tuple[NDArray[Any], pa.Table, Columns]:
    """Return the samples, the scalar columns, and which columns the samples are.

    A table's features are left to `fedkd.data.encoding`, which must know the training rows.

    Parameters
    ----------
    dataset : datasets.Dataset
    label : str or None
        The column that is the label, if it is in there.
    key, shown
        What errors name.
    choice : Choice
        What is known of the columns.
    outside : bool
        Whether pictures may be files that the rows only name.

    Returns
    -------
    x : uint8 pictures ``[n, h, w(, c)]``, float32 ``[n, ...]``, texts ``[n]``, or ``[n, 0]`` for a
        table
    table : pyarrow.Table
    columns : Columns

    Raises
    ------
    ConfigError
        If arrays hold what is no number, or a feature that the user names cannot be used.
    """
    features = {name: kind for name, kind in dataset.features.items() if name != label}
    table = scalars(dataset, [name for name in dataset.features if _scalar(dataset, name)])
    types = {name: as_dates(table.column(name)).type for name in table.column_names}
    why = {name: reason(name, types.get(name), choice) for name in features}
    unknown = choice.features is None
    codes = [name for name in types if unknown and _tells_apart(table, name, types, why)]
    chosen = {name: features[name] for name in choice.features or () if name in features}
    seen = chosen or features
    usable = [name for name in seen if why[name] is None and name not in codes]
    numbers = any(numeric(types.get(name)) for name in usable)
    image, block = find_images(seen, key, shown), _block(seen, numbers)
    others = image is not None or block is not None or choice.features is not None
    others |= any(numeric(types.get(name)) for name in usable)
    dates = any(dated(types.get(name)) for name in usable)
    apart = [name for name in codes if name != choice.text.column]
    known = [name for name in table.column_names if name in features and name not in apart]
    text = find_text(table.select(known), others, dates, choice, shown)
    if text is not None:
        return texts_of(table.column(text)), table, _one(label, text, why, "texts")
    if choice.named and choice.named not in ((image,), (block,)):
        check_named(choice, label, features, why, shown)
    if image is not None:
        x, told = _pictures(dataset, image, key, shown, outside)
        return x, table, _one(label, image, why, "pictures", told)
    if block is not None:
        return _stacked(dataset, block, key, shown), table, _one(label, block, why, "array")
    wanted = choice.features or tuple(usable)
    why |= dict.fromkeys(codes, CODE)
    rest = [name for name in features if name not in wanted]
    other = "not in data.features" if choice.named else "the others lack it"
    left = {name: why[name] or other for name in rest}
    return np.zeros((len(dataset), 0), np.float32), table, Columns(label, wanted, left)


def _tells_apart(
    table: pa.Table, name: str, types: dict[str, pa.DataType], why: dict[str, str | None]
) -> bool:
    able = name in why and why[name] is None and not dated(types[name])
    return able and identifies(table.column(name))


def _one(
    label: str | None, name: str, why: dict[str, str | None], kind: str, seen: str = ""
) -> Columns:
    left = {other: reason or "beside it" for other, reason in why.items() if other != name}
    return Columns(label, (name,), left, kind, seen)


def _scalar(dataset: Any, name: str) -> bool:
    import datasets

    kind = dataset.features[name]
    plain = isinstance(kind, datasets.Value) and "binary" not in kind.dtype
    return plain or isinstance(kind, datasets.ClassLabel)


def scalars(dataset: Any, names: list[str]) -> pa.Table:
    """Return some of a data set's columns; those of classes know the names of their values."""
    if not names:
        return pa.table({})
    table = dataset.select_columns(names).with_format("arrow")[:].replace_schema_metadata()
    for place, field in enumerate(table.schema):
        called = getattr(dataset.features[field.name], "names", None)
        if called:
            told = field.with_metadata({"names": "\0".join(called)})
            table = table.set_column(place, told, table.column(place))
    return table


def _block(features: dict[str, Any], numbers: bool) -> str | None:
    """Return the column of arrays that is the samples, if there is one; maybe beside `numbers`."""
    arrays = [name for name, kind in features.items() if _leaf(kind) is not None]
    typed = [name for name in arrays if hasattr(features[name], "shape")]
    found = typed or ([] if numbers else arrays)
    return found[0] if len(found) == 1 else None


def _leaf(kind: Any) -> Any:
    """Return the type of the numbers in a column of arrays; None if it is no such column."""
    import datasets

    if hasattr(kind, "shape") and hasattr(kind, "dtype"):  # Array2D to Array5D
        return kind.dtype
    depth = 0
    while isinstance(kind, datasets.List | datasets.LargeList):
        kind, depth = kind.feature, depth + 1
    is_number = isinstance(kind, datasets.Value) and kind.dtype[:3] in ("int", "uin", "flo", "boo")
    return kind.dtype if depth and is_number else None


def _stacked(dataset: Any, name: str, key: str, shown: object) -> NDArray[Any]:
    leaf, parts = _leaf(dataset.features[name]), []
    about = f"{shown}, column {name!r}"
    if missing := scalars(dataset, [name]).column(name).null_count:
        problem = f"lacks its array in {missing} of {len(dataset)} rows; drop those rows"
        raise ConfigError(key, about, problem)
    for batch in dataset.select_columns([name]).with_format("numpy").iter(_BATCH):
        part = as_array(batch[name], key, about)
        parts.append(part.astype(leaf) if part.dtype.kind in "biuf" else part)
    try:
        return samples(np.concatenate(parts), key)
    except ValueError as error:
        raise ConfigError(key, about, "its arrays differ in shape") from error


def _pictures(
    dataset: Any, name: str, key: str, shown: object, outside: bool
) -> tuple[NDArray[Any], str]:
    """Decode in batches straight from the encoded bytes, about ten times faster than row by row."""
    import datasets

    encoded = dataset.select_columns([name]).cast_column(name, datasets.Image(decode=False))
    found = Pictures(len(dataset), key, shown)
    for batch in encoded.with_format("arrow").iter(_BATCH):
        for cell in batch.column(name).to_pylist():
            found.add(cell, outside)
    assert found.pixels is not None  # an empty data set was refused before
    return found.pixels, found.seen
