"""LeNet-5 with ReLU and max pooling, as federated learning papers use it on MNIST and CIFAR-10.

The original has sigmoid units, average pooling and pads MNIST to 32 x 32; today's usual variant,
built here, does not pad 28 x 28 (256 inputs to the first linear layer; 400 at 32 x 32).
"""

from torch import nn

from .shapes import Shape, image_shape

_UNPADDED = 16  # smallest side that leaves a pixel after two 5 x 5 convolutions and two poolings


class LeNet5(nn.Sequential):
    """Two 5 x 5 convolutions (6 and 16 channels), three linear layers (120, 84, classes).

    Images with a side under 16 pixels (such as the 8 x 8 digits) would vanish before the first
    linear layer, so there both convolutions keep the size by two pixels of zero padding.

    Parameters
    ----------
    shape : tuple of int
        ``(channels, height, width)``, at least 4 x 4 pixels.
    classes : int
        Number of logits.

    Raises
    ------
    ConfigError
        If a sample is not an image, or too small.

    Examples
    --------
    >>> sum(p.numel() for p in LeNet5((3, 32, 32), 10).parameters())
    62006
    >>> LeNet5((1, 8, 8), 10)[7].in_features
    64
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        channels, height, width = image_shape("lenet5", shape, 4)
        padding = 2 if min(height, width) < _UNPADDED else 0
        trim = 4 - 2 * padding
        high, wide = (((side - trim) // 2 - trim) // 2 for side in (height, width))
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * high * wide, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )
