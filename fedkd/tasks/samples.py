"""What a sample is to a model: numbers of some shape, or the tokens of a text."""

from typing import Self

import torch
from torch import Tensor

PAD = 0
"""The token id after the end of a text."""


class Tokens(tuple[int, ...]):
    """The shape ``(length,)`` of a text's token ids, and how many ids there are.

    Texts are int64 ``[n, length]``, padded on the right with `PAD`. No shape of numbers is equal
    to one of tokens.

    Parameters
    ----------
    length : int
        Tokens of a text at most.
    vocabulary : int
        Ids are 0 (padding) to ``vocabulary - 1``.

    Examples
    --------
    >>> Tokens(8, 300), tuple(Tokens(8, 300)), Tokens(8, 300) == (8,)
    (8 tokens of 300, (8,), False)
    """

    vocabulary: int

    def __new__(cls, length: int, vocabulary: int) -> Self:
        """Make one."""
        made = super().__new__(cls, (length,))
        made.vocabulary = vocabulary
        return made

    def __getnewargs__(self) -> tuple[int, int]:
        """Return what makes a copy, in another process too."""
        return self[0], self.vocabulary

    def __repr__(self) -> str:
        """Say both numbers."""
        return f"{self[0]} tokens of {self.vocabulary}"

    def __eq__(self, other: object) -> bool:
        """Say whether both have the same length and vocabulary."""
        return isinstance(other, Tokens) and self.__getnewargs__() == other.__getnewargs__()

    def __ne__(self, other: object) -> bool:
        """Say whether they differ."""
        return not self == other

    def __hash__(self) -> int:
        """Hash as `__eq__` compares."""
        return hash(self.__getnewargs__())


Shape = tuple[int, ...]
"""The shape of one sample; `Tokens` where it is a text."""


def vocabulary(shape: Shape) -> int | None:
    """Return how many token ids there are; None where samples are numbers.

    Examples
    --------
    >>> vocabulary((1, 28, 28)), vocabulary(Tokens(8, 300))
    (None, 300)
    """
    return shape.vocabulary if isinstance(shape, Tokens) else None


def made_up(shape: Shape, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return random samples ``[count, *shape]``: normal numbers, or texts of every length.

    Examples
    --------
    >>> made_up((3,), 2).dtype, made_up(Tokens(8, 300), 2).dtype
    (torch.float32, torch.int64)
    """
    if not isinstance(shape, Tokens):
        return torch.randn(count, *shape, generator=generator)
    ids = torch.randint(PAD + 1, shape.vocabulary, (count, *shape), generator=generator)
    ends = torch.arange(count) * shape[0] // max(count - 1, 1)  # one is empty, one is full
    return ids.masked_fill(torch.arange(shape[0]) >= shape[0] - ends[:, None], PAD)


def blank(shape: Shape, count: int) -> Tensor:
    """Return samples ``[count, *shape]`` that are all alike, texts of full length.

    Examples
    --------
    >>> blank((2,), 1), blank(Tokens(2, 300), 1)
    (tensor([[0., 0.]]), tensor([[1, 1]]))
    """
    if isinstance(shape, Tokens):
        return torch.full((count, *shape), PAD + 1)
    return torch.zeros(count, *shape)
