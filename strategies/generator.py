"""A network that makes samples of noise."""

from math import ceil, prod

from torch import Tensor, nn


class Generator(nn.Module):
    """Makes samples ``[batch, *shape]`` of noise ``[batch, latent]``.

    Pictures by two convolutions, each after an upsampling by 2; rows of numbers by a hidden layer,
    standardised as those of a table are.

    Examples
    --------
    >>> import torch
    >>> Generator((1, 30, 28), latent=4, width=2)(torch.randn(3, 4)).shape
    torch.Size([3, 1, 30, 28])
    >>> Generator((7,), latent=4, width=2)(torch.randn(3, 4)).shape
    torch.Size([3, 7])
    """

    def __init__(self, shape: tuple[int, ...], latent: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        if len(shape) != 3:
            wide, numbers = 8 * width, prod(shape)
            hidden = nn.Linear(latent, wide), nn.BatchNorm1d(wide), nn.LeakyReLU(0.2)
            out = nn.Linear(wide, numbers), nn.BatchNorm1d(numbers, affine=False)
            self.net = nn.Sequential(*hidden, *out, nn.Unflatten(1, shape))
            return
        first = (2 * width, ceil(shape[1] / 4), ceil(shape[2] / 4))
        self.net = nn.Sequential(
            nn.Linear(latent, prod(first)),
            nn.Unflatten(1, first),
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, shape[0], 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """``[batch, latent]`` to ``[batch, *shape]``."""
        made: Tensor = self.net(noise)
        return made if len(self.shape) != 3 else made[..., : self.shape[1], : self.shape[2]]
