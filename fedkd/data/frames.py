"""Data frames as tables of `datasets`."""

from typing import Any

import pyarrow as pa

from ..errors import ConfigError


def is_frame(given: Any) -> bool:
    """Say whether something is a data frame of pandas."""
    return hasattr(given, "columns") and hasattr(given, "to_numpy") and hasattr(given, "iloc")


def refuse_table(given: Any, key: str, shown: object) -> None:
    """Refuse tables of other libraries, whose columns would be matched by position."""
    if hasattr(given, "to_pandas") and not is_frame(given):
        raise ConfigError(key, shown, "is no data frame of pandas; give its to_pandas()")


def index_of(frame: Any) -> dict[str, str]:
    """Return the names of a frame's index, and why they are no features."""
    return {str(name): "the frame's index" for name in frame.index.names if name is not None}


def dataset_of(frame: Any, key: str, shown: object) -> Any:
    """Return a data frame's columns as a `datasets.Dataset`, without its index.

    Raises
    ------
    ConfigError
        If a column holds values of several kinds, or two have one name.
    """
    import datasets

    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(key, shown, f"has {names.count(twice[0])} columns called {twice[0]!r}")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
        for position, name in enumerate(table.column_names):
            kind = table.column(position).type
            if pa.types.is_dictionary(kind):  # of categories, which `datasets` does not know
                column = table.column(position).cast(kind.value_type)
                table = table.set_column(position, name, column)
        return datasets.Dataset(table)
    except (ValueError, TypeError, NotImplementedError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(key, shown, f"cannot be read ({reason})") from error
