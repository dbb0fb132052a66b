"""Random changes of a batch of images in training."""

import torch
from torch import Tensor
from torch.nn import functional as F

PAD = 4
"""Pixels of zero padding around an image before it is cropped at random."""


def flip_crop(x: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image left to right by chance, pad it and crop it to its size, each at random.

    Parameters
    ----------
    x : Tensor
        ``[batch, channels, height, width]``.
    generator : torch.Generator
        Where the chance comes from.

    Examples
    --------
    >>> flip_crop(torch.ones(2, 1, 8, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 8, 8])
    """
    batch, _, height, width = x.shape
    flips = torch.rand(batch, generator=generator) < 0.5
    x = torch.where(flips.view(-1, 1, 1, 1).to(x.device), x.flip(-1), x)
    top, left = torch.randint(0, 2 * PAD + 1, (2, batch, 1), generator=generator)
    rows = (top + torch.arange(height)).view(batch, 1, height, 1)
    columns = (left + torch.arange(width)).view(batch, 1, 1, width)
    padded = F.pad(x, (PAD, PAD, PAD, PAD))
    index = torch.arange(batch).view(batch, 1, 1, 1)
    return padded[index, torch.arange(x.shape[1]).view(1, -1, 1, 1), rows, columns]
