"""What `fedkd check` holds a plug-in to: one promise of the seams a function, in plain words.

A promise takes a `Subject` and returns what is worth saying when it holds, or raises `Broken` with
the values that show why it does not. `SUITES` says which promises a family of plug-ins makes.
"""

from .subject import Subject
from .suite import SUITES, checked, suite_of
from .verdict import Broken, Promise, Skipped, Verdict

__all__ = ["SUITES", "Broken", "Promise", "Skipped", "Subject", "Verdict", "checked", "suite_of"]
