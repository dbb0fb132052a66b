"""The two small CNNs of FedMD (Li and Wang, 2019, arXiv 1910.03581).

Layers as in the authors' code: each convolution is followed by batch normalisation, ReLU and
dropout; the classifier is one linear layer without bias. The first pooling has stride 1 and keeps
the size. FedMD varies the widths over its parties (128-256, 128-384, ..., 64-128-256, ...; dropout
0.2 to 0.4): give the zoo ``functools.partial(FedMD2, channels=(128, 384), dropout=0.3)``.

Ours where theirs is Keras's: PyTorch's initialisation and batch-normalisation constants, no L2
penalty on the classifier, and logits out instead of probabilities.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .shapes import Shape, image_shape


class _SmoothPool(nn.Module):
    """2 x 2 average pooling of stride 1 that keeps the size, padding left out of the averages."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, C, H, W]`` to the same shape."""
        # padding all round gives one row and column too many: Keras pads at the far end only
        return F.avg_pool2d(x, 2, 1, padding=1, count_include_pad=False)[..., 1:, 1:]


def _convolution(
    inputs: int, outputs: int, dropout: float, *, kernel: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Convolution, normalisation, ReLU and dropout."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.Dropout(dropout)]


class FedMD2(nn.Sequential):
    """FedMD's 2-layer CNN.

    Parameters
    ----------
    shape : tuple of int
        ``(channels, height, width)``, at least 5 x 5 pixels.
    classes : int
        Number of logits.
    channels : tuple of int
        Width of the two convolutions.
    dropout : float
        Dropout probability after each convolution.

    Examples
    --------
    >>> FedMD2((1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        channels: tuple[int, int] = (128, 256),
        dropout: float = 0.2,
    ) -> None:
        colours, height, width = image_shape("fedmd_cnn2", shape, 5)
        first, second = channels
        features = second * ((height - 1) // 2) * ((width - 1) // 2)
        super().__init__(
            *_convolution(colours, first, dropout, kernel=3, padding=1),
            _SmoothPool(),
            *_convolution(first, second, dropout, kernel=3, stride=2),
            nn.Flatten(),
            nn.Linear(features, classes, bias=False),
        )


class FedMD3(nn.Sequential):
    """FedMD's 3-layer CNN.

    Images with a side under 20 pixels leave too little for the last convolution (3 x 3, stride 2),
    which then has stride 1 and one pixel of padding; batch normalisation would also fail on a
    single sample with a single pixel.

    Parameters
    ----------
    shape : tuple of int
        ``(channels, height, width)``, at least 8 x 8 pixels.
    classes : int
        Number of logits.
    channels : tuple of int
        Width of the three convolutions.
    dropout : float
        Dropout probability after each convolution.

    Examples
    --------
    >>> FedMD3((1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        channels: tuple[int, int, int] = (128, 192, 256),
        dropout: float = 0.2,
    ) -> None:
        colours, height, width = image_shape("fedmd_cnn3", shape, 8)
        first, second, third = channels
        small = min(height, width) < 20  # under 5 x 5 after both halvings: stride 2 leaves a pixel
        high, wide = (side // 4 if small else (side // 4 - 1) // 2 for side in (height, width))
        super().__init__(
            *_convolution(colours, first, dropout, kernel=3, padding=1),
            _SmoothPool(),
            *_convolution(first, second, dropout, kernel=2, stride=2),
            nn.AvgPool2d(2),
            *_convolution(second, third, dropout, kernel=3, stride=2 - small, padding=int(small)),
            nn.Flatten(),
            nn.Linear(third * high * wide, classes, bias=False),
        )
