"""A network that makes features of labels, FedGen's generator, and what it learns by."""

from collections.abc import Sequence

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


def told_apart(logits: Sequence[Tensor], labels: Tensor, counts: Tensor) -> Tensor:
    """Return ``sum_n mean_i( W_n[y_i] CE(logits_n[i], y_i) )``.

    Parameters
    ----------
    logits, labels : Tensor
        Each client's ``[batch, classes]``, and y ``[batch]``.
    counts : Tensor
        ``[n, classes]`` samples of each label; W are the shares of the clients.

    Examples
    --------
    >>> sure = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> told_apart(sure, torch.tensor([0]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    tensor(0.8664)
    """
    shares = counts / counts.sum(dim=0).clamp_min(1)
    each = [F.cross_entropy(one, labels, reduction="none") for one in logits]
    return (shares[:, labels] * torch.stack(each)).mean(dim=1).sum()


def likeness(noise: Tensor, features: Tensor) -> Tensor:
    """Return D, 1 where other noise makes no other features.

    Examples
    --------
    >>> noise = torch.tensor([[0.0], [2.0]])  # of four pairs two differ: exp(-(4 * 1 + 4 * 1) / 4)
    >>> likeness(noise, torch.tensor([[1.0], [2.0]])), likeness(0 * noise, noise)
    (tensor(0.1353), tensor(1.))
    """
    apart = (noise.unsqueeze(1) - noise).square().mean(dim=-1)
    other = (features.unsqueeze(1) - features).abs().mean(dim=-1)
    return (-(apart * other).mean()).exp()
