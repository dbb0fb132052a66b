"""The network of the cross-check: its first weights are the same wherever it is made."""

from ...models.mlp import MLP
from ...models.shapes import Shape
from ...rng import scoped

MENTEE = 1000
"""Where the model that all clients share starts, of methods that have one beside the clients' own:
it is named without parameters, and so the same for all seeds."""

HIDDEN = 200


class Net(MLP):
    """An MLP whose first weights are drawn from a seed of its own: all clients start alike.

    Parameters
    ----------
    shape, classes
        See `MLP`.
    start : int
        The seed, at least 0.

    Examples
    --------
    >>> import torch
    >>> one, same, other = (Net((4,), 3, start=start)[1].weight for start in (0, 0, 1))
    >>> torch.equal(one, same), torch.equal(one, other)
    (True, False)
    """

    def __init__(self, shape: Shape, classes: int, *, start: int = MENTEE) -> None:
        with scoped(start):
            super().__init__(shape, classes, hidden=HIDDEN)
