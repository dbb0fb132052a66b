"""Docstrings as the site shows them."""

import re
from typing import Any

import griffe


class Markdown(griffe.Extension):
    """Turns the ``::`` before a formula, which is reStructuredText, into a colon."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"::[ ]*$", ":", obj.docstring.value, flags=re.MULTILINE)
