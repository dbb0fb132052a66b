"""Means of Gaussians, as predictions of numbers with a variance are."""

import torch


def precision_mean(values: torch.Tensor) -> torch.Tensor:
    r"""Return the moments of a mixture in which each Gaussian weighs as its precision.

    .. math::
        w_n = \frac{1 / v_n}{\sum_m 1 / v_m}, \qquad \mu = \sum_n w_n \mu_n, \qquad
        v = \sum_n w_n (v_n + \mu_n^2) - \mu^2

    Each sample and target has weights of its own. The variance keeps how much clients disagree.

    Parameters
    ----------
    values : Tensor
        ``[n, s, 2 * targets]``: means, then variances, greater than 0.

    Returns
    -------
    Tensor
        ``[s, 2 * targets]`` float32.

    Examples
    --------
    >>> precision_mean(torch.tensor([[[0.0, 1.0]], [[3.0, 0.5]]]))
    tensor([[2.0000, 2.6667]])
    """
    means, variances = values.double().chunk(2, dim=-1)
    precisions = 1 / variances
    weights = precisions / precisions.sum(dim=0)
    mean = (weights * means).sum(dim=0)
    spread = (weights * (variances + (means - mean).square())).sum(dim=0)
    return torch.cat([mean, spread], dim=-1).float()
