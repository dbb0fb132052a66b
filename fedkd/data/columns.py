"""A table's columns: what is known of them before it is read, and what has become of them then."""

from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import PROBLEM, one_line
from .text import Text

LABEL_NAMES = ("label", "fine_label", "labels", "target", "class")
"""Names that need no `data.label`; of several, ``label`` is the label."""

SHOWN = 20
"""Columns that a note names; the others are counted."""


@dataclass(frozen=True)
class Choice:
    """What is known of a table's columns before it is read.

    Attributes
    ----------
    label : str, tuple of str or None
        The column that the user calls the label, or several.
    features : tuple of str or None
        The feature columns, in order, as the user names them, or another split or data set has
        them; None = look.
    apart : tuple of str
        Columns by which samples are dealt to clients: they are no features.
    strict : bool
        Whether `label`, `features` and the text are the user's words, and one that is not there an
        error.
    optional : bool
        Whether rows without a label will do, or with several columns that could be it.
    encoding : dict or None
        What another data set's columns become (`Corpus.encoding`); None = fit it.
    targets : {"classes", "numbers", "tokens"} or None
        What labels are to be; None = as they are. Next tokens need no column of their own.
    standardise : bool or None
        Whether a table's numbers are standardised; None = if its labels are numbers.
    text : Text
        Which column is the text, if the samples are texts, and how it becomes tokens.
    """

    label: str | tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    apart: tuple[str, ...] = ()
    strict: bool = True
    optional: bool = False
    encoding: dict[str, Any] | None = None
    targets: str | None = None
    standardise: bool | None = None
    text: Text = field(default_factory=Text)

    @property
    def named(self) -> tuple[str, ...] | None:
        """The features that the user names."""
        return self.features if self.strict else None

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides how rows are read, where they are not refused, JSON-ready."""
        known = {k: v for k, v in vars(self).items() if k not in ("strict", "optional")}
        targets = None if self.targets == "classes" else self.targets  # what can be both is these
        return known | {"targets": targets, "text": vars(self.text)}


@dataclass(frozen=True)
class Columns:
    """The columns of a table, sorted out; JSON-ready through `vars`."""

    label: str | None
    features: tuple[str, ...]
    left: dict[str, str]
    """columns that are not used, and why"""
    kind: str = "features"
    """what the features are: features, pictures, an array or texts"""
    seen: str = ""
    """what else is worth saying"""

    def told(self) -> str:
        """Return the columns in one line.

        Examples
        --------
        >>> Columns("cut", ("carat", "depth"), {"id": "an index"}).told()
        "label 'cut', features carat, depth; left out: id (an index)"
        """
        label = f"label {self.label!r}, " if self.label is not None else ""
        text = f"{label}{self.kind} {listed(list(self.features)) or 'none'}{self.seen}"
        left = [f"{name} ({reason})" for name, reason in self.left.items()]
        return one_line(f"{text}; left out: {listed(left)}" if left else text, PROBLEM)

    def again(self, choice: Choice) -> Choice:
        """Return what is known of a table's columns once another's are these."""
        if self.kind == "texts":
            return replace(choice, text=replace(choice.text, column=self.features[0]))
        return replace(choice, features=self.features) if self.kind == "features" else choice

    @property
    def plain(self) -> bool:
        """Whether nothing needs to be said: pictures with a label, and nothing left out."""
        usual = self.label is None or self.label in LABEL_NAMES
        return self.kind == "pictures" and usual and not self.left and not self.seen


def listed(names: list[str]) -> str:
    """Return names in a line; of many, how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
