"""From a gradient back to a batch: labels from a bias, samples by descent."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def descend(
    model: nn.Module,
    wanted: Sequence[Tensor],
    labels: Tensor,
    x: Tensor,
    ends: tuple[Tensor, Tensor],
    steps: int,
    lr: float,
    tv: float,
) -> tuple[float, Tensor]:
    r"""Return how far the gradient of the samples found is from the one wanted, and the samples.

    .. math:: \min_x \; 1 - \cos(\nabla_\theta L(x, y), g) + tv \cdot TV(x)

    by signed Adam, whose step shrinks to 0.3 of itself after 3/8, 5/8 and 7/8 of the way. Geiping
    et al., NeurIPS 2020 (certain; its factor is 0.1, which takes more steps).

    Parameters
    ----------
    model : nn.Module
        Where the gradient was taken.
    wanted : sequence of Tensor
        The gradient, a part each of the model's parameters.
    labels : Tensor
        ``[count]``.
    x : Tensor
        ``[count, *shape]``, where to begin.
    ends : pair of Tensor
        The least and the greatest value of a pixel.
    steps, lr, tv
        See `GradientInversion`.
    """
    x = x.clamp(*ends).requires_grad_()
    parameters, distance = list(model.parameters()), torch.tensor(0.0)
    optimizer = torch.optim.Adam([x], lr=lr)
    milestones = [int(steps * part) for part in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        made = torch.autograd.grad(loss, parameters, create_graph=True)
        distance = cosine_distance(made, wanted)
        (distance + tv * variation(x)).backward(inputs=[x])
        assert x.grad is not None
        x.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(*ends)
    return distance.item(), x.detach()


def infer_labels(model: nn.Module, gradient: Sequence[Tensor], count: int, x: Tensor) -> Tensor:
    r"""Return the labels ``[count]``, ascending, that the last bias' gradient tells.

    .. math:: g_c = \frac1B \sum_i (p_i[c] - [y_i = c]), \qquad n_c \approx B (\bar p_c - g_c)

    with :math:`\bar p` the model's mean prediction, here on samples `x` that the server has; the
    counts are rounded by largest remainders.

    Raises
    ------
    ValueError
        If the model has no such bias.
    """
    bias = gradient[-1]
    with torch.no_grad():
        mean = model(x).softmax(dim=-1).mean(dim=0)
    if bias.shape != mean.shape:
        raise ValueError("the model's last parameter is no bias of its logits")
    shares = count * (mean - bias).clamp_min(0)
    shares = shares * count / shares.sum().clamp_min(1e-9)
    counts = shares.floor()
    missing = int(count - counts.sum())
    counts[(shares - counts).argsort(descending=True)[:missing]] += 1
    return torch.repeat_interleave(torch.arange(len(counts)), counts.long())


def cosine_distance(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return one minus the cosine of the angle between two gradients.

    Examples
    --------
    >>> cosine_distance([torch.tensor([2.0])], [torch.tensor([1.0])])
    tensor(0.)
    """
    first, second = (torch.cat([part.flatten() for part in each]) for each in (made, wanted))
    return 1 - nn.functional.cosine_similarity(first, second, dim=0)


def variation(x: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels of ``[..., height, width]``."""
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()
