"""A network that draws pictures from soft labels."""

import torch
from torch import Tensor, nn

from ..rng import scoped, torch_generator


class Painter(nn.Sequential):
    """Draws pictures in [0, 1] from soft labels.

    Parameters
    ----------
    width : int
        Numbers to draw from.
    shape : tuple of int
        ``(channels, height, width)`` of a picture.
    """

    def __init__(self, width: int, shape: tuple[int, ...]) -> None:
        channels, high, wide = shape
        rows, columns = -(-high // 4), -(-wide // 4)
        self.size = high, wide
        super().__init__(
            nn.Linear(width, 32 * rows * columns),
            nn.ReLU(),
            nn.Unflatten(1, (32, rows, columns)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return ``[batch, *shape]``, cut to size."""
        drawn: Tensor = super().forward(input)
        return drawn[..., : self.size[0], : self.size[1]]


def taught(
    given: Tensor, x: Tensor, prior: Tensor, gamma: float, lr: float, epochs: int, seed: int
) -> Painter:
    """Return a network that learnt to draw samples from their soft labels.

    .. code-block:: text

        loss = MSE(x, G(given)) + gamma * MSE(prior, G(given))

    Parameters
    ----------
    given : Tensor
        ``[samples, width]``, what to draw from.
    x, prior : Tensor
        ``[samples, *shape]`` in [0, 1]: what to draw, and what is likely.
    gamma, lr, epochs, seed
        Weight of the prior; Adam's learning rate; passes in batches of 32; the random stream.
    """
    with scoped(seed):
        painter = Painter(given.shape[1], tuple(x.shape[1:]))
    optimizer = torch.optim.Adam(painter.parameters(), lr=lr)
    generator = torch_generator(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(32):
            optimizer.zero_grad()
            made = painter(given[rows])
            loss = nn.functional.mse_loss(made, x[rows])
            (loss + gamma * nn.functional.mse_loss(made, prior[rows])).backward()
            optimizer.step()
    return painter
