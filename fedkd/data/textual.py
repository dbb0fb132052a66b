"""Which column of a table is the text that its samples are."""

import pyarrow as pa

from ..errors import ConfigError
from .columns import Choice
from .recognising import few, textual
from .roles import OTHER_LABELS

NAMES = ("text", "sentence", "content")
"""Names that need no `data.text` where a table has several columns of text."""


def find_text(
    table: pa.Table, others: bool, dates: bool, choice: Choice, shown: object
) -> str | None:
    """Return the column of texts, if the samples are texts.

    Parameters
    ----------
    table : pyarrow.Table
        The scalar columns that could be features.
    others : bool
        Whether there are features of another type, or it is known what they are.
    dates : bool
        Whether there are dates: beside those, only a column that is called so is the text.
    choice : Choice
        What the user asks for.
    shown : object
        What errors name.

    Raises
    ------
    ConfigError
        If there is no such column, or it holds no text, or several could be it.
    """
    wanted, types = choice.text.column, {field.name: field.type for field in table.schema}
    if wanted is not None and choice.named:
        problem = "the samples are the texts of data.text; leave one of them out"
        raise ConfigError("data.features", list(choice.named), problem)
    if wanted is not None and wanted in types:
        if not textual(types[wanted]):
            raise ConfigError("data.text", wanted, f"is no text but {types[wanted]}")
        return wanted
    apart = (*choice.apart, *OTHER_LABELS)
    found = [name for name, kind in types.items() if textual(kind) and name not in apart]
    if wanted is not None and choice.strict:
        raise ConfigError("data.text", wanted, f"{shown} has no such column", found)
    named = [name for name in NAMES if name in found]
    if choice.targets == "tokens" and (len(found) == 1 or named):
        return named[0] if named else found[0]
    if others or dates or named or any(few(table.column(name)) for name in found):
        return None if others or not named else named[0]
    if len(found) > 1:
        problem = f"which column of {shown} is the text? name it with data.text=COLUMN"
        raise ConfigError("data.text", None, problem, found)
    return found[0] if found else None
