"""Layers' results over padded texts: what is behind the end of a text never counts."""

import torch
from torch import Tensor

from ..tasks.samples import PAD


def there(x: Tensor) -> Tensor:
    """Return where the tokens of texts ``[batch, length]`` are, bool, of the same shape."""
    return x != PAD


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each text's positions, ``[batch, dim]``; zeros for an empty text.

    Parameters
    ----------
    values : Tensor
        ``[batch, length, dim]``.
    mask : Tensor
        ``[batch, length]`` bool.

    Examples
    --------
    >>> mean_over(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    kept = mask.unsqueeze(-1).to(values.dtype)
    return (values * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1)


def max_over(values: Tensor, mask: Tensor) -> Tensor:
    """Return the maximum of each text's positions, ``[batch, dim]``; one at least is masked in.

    Parameters
    ----------
    values, mask : Tensor
        As for `mean_over`.
    """
    return values.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(dim=1)


def last_of(values: Tensor, mask: Tensor) -> Tensor:
    """Return the value at each text's last token, ``[batch, dim]``; zeros for an empty text.

    Parameters
    ----------
    values, mask : Tensor
        As for `mean_over`.
    """
    place = torch.arange(mask.shape[1], device=mask.device)
    last = mask & (place == mask.sum(dim=1, keepdim=True) - 1)
    return (values * last.unsqueeze(-1).to(values.dtype)).sum(dim=1)
