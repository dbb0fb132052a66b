"""A network that makes features of labels: FedGen's generator."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Generator(nn.Module):
    """One-hot label and noise, linear, BatchNorm, ReLU, linear: what a model's head might be given.

    Parameters
    ----------
    classes : int
        Number of labels.
    dim : int
        Features that the head takes.
    noise : int
        Numbers of noise.
    hidden : int
        Width of the hidden layer.

    Examples
    --------
    >>> generator = Generator(classes=10, dim=32).eval()
    >>> generator(torch.tensor([3, 7]), torch.randn(2, 32)).shape
    torch.Size([2, 32])
    """

    def __init__(self, classes: int, dim: int, noise: int = 32, hidden: int = 256) -> None:
        super().__init__()
        self.classes, self.noise = classes, noise
        self.layers = nn.Sequential(
            nn.Linear(classes + noise, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
        )

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Return features ``[n, dim]`` of labels ``[n]`` and noise ``[n, noise]``."""
        made: Tensor = self.layers(torch.cat([F.one_hot(labels, self.classes), noise], dim=1))
        return made

    def drawn(self, labels: Tensor, stream: torch.Generator) -> Tensor:
        """Return features ``[n, dim]`` of labels with standard normal noise."""
        noise = torch.randn(len(labels), self.noise, generator=stream)
        return self(labels, noise.to(labels.device))
