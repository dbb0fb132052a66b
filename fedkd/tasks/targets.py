"""What a data set's labels are: classes, numbers in units of their own, or next tokens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Targets:
    """What a data set's labels are.

    Attributes
    ----------
    names : list of str
        The classes, or the columns of numbers.
    mean, std : list of float
        Of numbers, over the training split, a number a column: what models learn is
        ``(y - mean) / std``. Empty for anything else.
    tokens : tuple of int or None
        Of windows of text: their length, and the size of the vocabulary.
    """

    names: list[str]
    mean: list[float]
    std: list[float]
    tokens: tuple[int, int] | None = None

    @property
    def numeric(self) -> bool:
        """Whether they are numbers."""
        return bool(self.mean)

    @property
    def size(self) -> int:
        """Number of classes, or of columns."""
        return len(self.names)
