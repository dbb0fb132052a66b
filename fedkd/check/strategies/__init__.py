"""What `fedkd check` holds a plug-in to: one promise of the seams a function, in plain words.

A promise takes a `Subject` and returns what is worth saying when it holds, or raises `Broken` with
the values that show why it does not. `SUITE` says which promises a strategy makes.
"""

from .subject import Subject
from .suite import SUITE

__all__ = ["SUITE", "Subject"]
