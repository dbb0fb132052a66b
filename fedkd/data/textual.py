"""Which column of a table is the text that its samples are."""

from collections.abc import Collection, Mapping

import pyarrow as pa

from ..errors import ConfigError
from .columns import Choice
from .text import is_text

NAMES = ("text", "sentence", "content")
"""Names that need no `data.text` where a table has several columns of text."""


def find_text(
    types: Mapping[str, pa.DataType | None],
    others: bool,
    apart: Collection[str],
    choice: Choice,
    shown: object,
) -> str | None:
    """Return the column of texts, if the samples are texts.

    Parameters
    ----------
    types : mapping
        Name and type of each column that could be a feature; None = no scalar.
    others : bool
        Whether there are features of another type.
    apart : collection of str
        Columns that are no text unless the user names them.
    choice : Choice
        What the user asks for.
    shown : object
        What errors name.

    Raises
    ------
    ConfigError
        If there is no such column, or it holds no text, or several could be it.
    """
    wanted = choice.text.column
    if wanted is not None and wanted in types:
        if not is_text(types[wanted]):
            raise ConfigError("data.text", wanted, f"is no text but {types[wanted]}")
        return wanted
    found = [name for name, kind in types.items() if is_text(kind) and name not in apart]
    if wanted is not None and choice.strict:
        raise ConfigError("data.text", wanted, f"{shown} has no such column", found)
    if others or not found:
        return None
    named = [name for name in NAMES if name in found] or found
    if len(found) > 1 and named == found:
        problem = f"which column of {shown} is the text? name it with data.text=COLUMN"
        raise ConfigError("data.text", None, problem, found)
    return named[0]
