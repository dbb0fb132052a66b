"""ResNet-8 for CIFAR, as KAFAL uses it (Cao et al., ICCV 2023; 78,529 state elements).

KAFAL's model is called pre-activation, yet its blocks are not: between a bare first convolution and
a final normalisation + ReLU (the frame of a pre-activation net) stand ordinary blocks, which
normalise after each convolution; shortcuts are 1 x 1 convolutions without normalisation. That frame
is what the published element count fixes, so it is built here. The pooling adapts to the image, and
the forward pass returns the logits alone.
"""

import torch
from torch import nn

from .shapes import Shape, image_shape


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class _Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(inputs, outputs, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            _convolution(outputs, outputs),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, inputs, H, W]`` to ``[B, outputs, H / stride, W / stride]``."""
        return torch.relu(self.residual(x) + self.shortcut(x))


class ResNet8(nn.Sequential):
    """Three stages of one residual block (16, 32, 64 channels), average pooling, linear.

    Parameters
    ----------
    shape : tuple of int
        ``(channels, height, width)``, at least 5 x 5 pixels.
    classes : int
        Number of logits.

    Raises
    ------
    ConfigError
        If a sample is not an image, or too small.

    Examples
    --------
    >>> sum(t.numel() for t in ResNet8((3, 32, 32), 10).state_dict().values())
    78529
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        channels, _, _ = image_shape("resnet8", shape, 5)
        super().__init__(
            _convolution(channels, 16),
            _Block(16, 16, 1),
            _Block(16, 32, 2),
            _Block(32, 64, 2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, classes),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
