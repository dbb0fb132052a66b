"""Models that cannot be trained on a single sample, such as those with batch normalisation."""

import copy

import torch
from torch import Tensor, nn

from ..ending import contained
from ..rng import scoped


def trains_alone(model: nn.Module, x: Tensor) -> bool:
    """Say whether a model in training answers a single sample.

    Parameters
    ----------
    model : nn.Module
        Is tried out in a copy.
    x : Tensor
        ``[n, *shape]``, n at least 1, of which the first is taken.

    Examples
    --------
    >>> x = torch.ones(2, 3)
    >>> trains_alone(nn.Linear(3, 1), x), trains_alone(nn.BatchNorm1d(3), x)
    (True, False)
    >>> trains_alone(nn.BatchNorm1d(3), torch.ones(1, 3, 2))  # two numbers of each channel
    True
    """
    device = next((parameter.device for parameter in model.parameters()), x.device)
    try:
        with contained(), scoped(0), torch.no_grad():
            copy.deepcopy(model).train()(x[:1].to(device))
    except Exception:
        return False
    return True


def suffices(model: nn.Module, x: Tensor) -> bool:
    """Say whether there are samples ``[n, *shape]``, and as many as training takes.

    Examples
    --------
    >>> [suffices(nn.BatchNorm1d(3), torch.ones(n, 3)) for n in (0, 1, 2)]
    [False, False, True]
    """
    return len(x) > 1 or (len(x) == 1 and trains_alone(model, x))
