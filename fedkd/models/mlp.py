"""A multilayer perceptron with one hidden layer: the quickest model, and the one for tables."""

import math

from torch import nn

from .shapes import Shape, numbers_shape


class MLP(nn.Sequential):
    """Flatten, linear, ReLU, linear.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample, of any rank; no texts.
    classes : int
        Number of logits.
    hidden : int
        Width of the hidden layer.

    Examples
    --------
    >>> sum(p.numel() for p in MLP((1, 28, 28), 10).parameters())
    159010
    """

    def __init__(self, shape: Shape, classes: int, *, hidden: int = 200) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(numbers_shape("mlp", shape)), hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
