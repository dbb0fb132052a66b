"""What the parameters of a plug-in are: type, default, allowed values, and what they mean."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from ..config.hints import Entry, choices, default_text, signature, type_text
from .finding import REQUIRED, own_words

_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}\s*$|\Z)", re.M | re.S)
_ITEM = re.compile(r"^(\S[^\n:]*?)(?:[ ]?:[ ][^\n]*)?\n((?:[ ]+[^\n]*\n|\n)+)", re.M)


def entries(cls: Any, hidden: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Yield every parameter of a class, those of its bases after its own, or of a function.

    Parameters
    ----------
    cls : type
        The class; what its parameters mean is in numpydoc docstrings, its own or its bases'.
    hidden : tuple of str
        Parameters that are no key of the user's.

    Examples
    --------
    >>> from fedkd.codecs.topk import TopK
    >>> next(entries(TopK))
    Entry(key='k', type='int', default='3', allowed='', words='How many are kept, at least 1. \
Rows of no more than k numbers are not encoded.')
    """
    words = meanings(cls)
    for name, parameter in signature(cls).items():
        if name in hidden:
            continue
        hint, default = parameter.annotation, parameter.default
        known = type(default) if hint is REQUIRED and default is not None else hint
        yield Entry(
            name,
            "" if known in (REQUIRED, type) else type_text(known),
            "" if default is REQUIRED else default_text(default),
            ", ".join(choices(hint)),
            words.get(name, ""),
        )


def meanings(cls: Any) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of parameters, a line each.

    What only refers to another class is left to that one.
    """
    found: dict[str, str] = {}
    for owner in cls.__mro__ if isinstance(cls, type) else (cls,):
        section = _SECTION.search(inspect.cleandoc(own_words(owner)))
        for names, words in _ITEM.findall(f"{section[1]}\n") if section else ():
            for name in re.split(r",\s*", names):
                if not words.strip().startswith("See `"):
                    found.setdefault(name.strip("* "), " ".join(words.split()))
    return found
