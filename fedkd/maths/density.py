"""Pure maths of how well private data covers a sample: density ratios, densities, weights.

Everything is computed in float64. Nothing here has state or side effects; what is random is drawn
from the generator that is passed in.
"""

from math import log, pi

import torch
from torch import Tensor

FLOOR = 1e-6
"""Least variance of a feature: one that never changes must not make a density infinite."""


def gaussian_kernel(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Return ``exp(-||a_i - b_j||^2 / (2 width^2))``, ``[n, m]`` float64.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[m, d]``.
    width : float
        Greater than 0.

    Examples
    --------
    >>> gaussian_kernel(torch.zeros(1, 1), torch.tensor([[0.0], [2.0]]), 1.0)
    tensor([[1.0000, 0.1353]], dtype=torch.float64)
    """
    return (-0.5 * (torch.cdist(a.double(), b.double()) / width).square()).exp()


def density_ratio(
    x: Tensor, private: Tensor, auxiliary: Tensor, width: float, penalty: float
) -> Tensor:
    """Return KuLSIF's estimate of ``p(x) / q(x)``, p the private and q the auxiliary density.

    Kanamori, Suzuki, Sugiyama, "Statistical analysis of kernel-based least-squares density-ratio
    estimation", Machine Learning 2012. Formula, with n auxiliary samples u, m private samples z,
    the Gaussian kernel k and the penalty l::

        r(x) = sum_j a_j k(x, u_j) + 1/(m l) sum_i k(x, z_i)
        (K_uu / n + l I) a = -1/(n m l) K_uz 1

    Parameters
    ----------
    x, private, auxiliary : Tensor
        ``[samples, d]``, ``[m, d]``, ``[n, d]``.
    width, penalty : float
        Both greater than 0.

    Returns
    -------
    Tensor
        ``[samples]`` float64. The estimate is not forced to be positive.

    Examples
    --------
    >>> density_ratio(torch.zeros(1, 1), torch.zeros(3, 1), torch.zeros(2, 1), 1.0, 1.0)
    tensor([0.5000], dtype=torch.float64)
    """
    n, m = len(auxiliary), len(private)
    inner = gaussian_kernel(auxiliary, auxiliary, width) / n
    inner.diagonal().add_(penalty)
    pulls = gaussian_kernel(auxiliary, private, width).sum(dim=1) / (n * m * penalty)
    coefficients = torch.linalg.solve(inner, -pulls)
    near = gaussian_kernel(x, private, width).mean(dim=1) / penalty
    return gaussian_kernel(x, auxiliary, width) @ coefficients + near


def gaussian_log_density(
    x: Tensor, points: Tensor, labels: Tensor | None = None, shrinkage: float = 0.1
) -> Tensor:
    """Return the log density of a Gaussian with diagonal covariance, or of one per class.

    Parameters
    ----------
    x, points : Tensor
        ``[samples, d]``, and ``[n, d]`` to estimate it from, n at least 1.
    labels : Tensor, optional
        ``[n]`` int64: a mixture with one Gaussian for each class, of one covariance.
    shrinkage : float
        Share of the mean variance in each variance, in [0, 1]: few points say little of each.

    Returns
    -------
    Tensor
        ``[samples]`` float64, in nats.

    Examples
    --------
    >>> points = torch.tensor([[-1.0], [1.0]])
    >>> gaussian_log_density(torch.zeros(1, 1), points)  # -log(2 pi) / 2
    tensor([-0.9189], dtype=torch.float64)
    """
    x, points = x.double(), points.double()
    groups = torch.zeros(len(points), dtype=torch.int64) if labels is None else labels
    found = groups.unique()
    means = torch.stack([points[groups == one].mean(dim=0) for one in found])
    shares = torch.stack([(groups == one).double().mean() for one in found])
    variances = (points - means[torch.searchsorted(found, groups)]).square().mean(dim=0)
    variances = torch.lerp(variances, variances.mean(), shrinkage).clamp_min(FLOOR)
    scale = variances.sqrt()
    distances = torch.cdist(x / scale, means / scale).square()
    norm = x.shape[1] * log(2 * pi) + variances.log().sum()
    return (shares.log() - 0.5 * (distances + norm)).logsumexp(dim=1)


def kernel_log_density(x: Tensor, points: Tensor) -> Tensor:
    """Return the log of a Gaussian kernel density estimate, with Scott's bandwidth.

    Parameters
    ----------
    x, points : Tensor
        ``[samples, d]``, and ``[n, d]`` to estimate it from, n at least 1. The bandwidth is in
        units of the points' mean standard deviation.

    Returns
    -------
    Tensor
        ``[samples]`` float64, in nats.

    Examples
    --------
    >>> kernel_log_density(torch.zeros(1, 1), torch.tensor([[-1.0], [1.0]])).exp()
    tensor([0.2369], dtype=torch.float64)
    """
    from sklearn.neighbors import KernelDensity  # slow to import, and few need it

    scale = points.double().var(dim=0, correction=0).mean().clamp_min(FLOOR).sqrt()
    estimate = KernelDensity(bandwidth="scott").fit((points.double() / scale).numpy())
    values = torch.from_numpy(estimate.score_samples((x.double() / scale).numpy()))
    return values - x.shape[1] * scale.log()


def held_out(n: int, generator: torch.Generator, most: int = 500) -> tuple[Tensor, Tensor]:
    """Split rows at random: three quarters to estimate from, a quarter to compare with.

    Parameters
    ----------
    n : int
        Number of rows, at least 1. A single row serves as both.
    generator : torch.Generator
        Where the order comes from.
    most : int
        At most this many rows in either part, so that the cost stays bounded.

    Returns
    -------
    tuple of Tensor
        Row numbers, int64.

    Examples
    --------
    >>> [len(rows) for rows in held_out(8, torch.Generator())]
    [6, 2]
    """
    order = torch.randperm(n, generator=generator)
    cut = min(n - 1, n - n // 4)
    kept, held = (order, order) if n == 1 else (order[:cut], order[cut:])
    return kept[:most], held[:most]


def score_weights(scores: Tensor, power: float = 1.0) -> Tensor:
    """Return weights over clients for each sample, proportional to ``scores ** power``.

    Parameters
    ----------
    scores : Tensor
        ``[n, samples]``, at least 0. A sample that nobody scores is shared evenly.
    power : float
        Greater than 0.

    Returns
    -------
    Tensor
        ``[n, samples]`` float64, columns sum to 1.

    Examples
    --------
    >>> score_weights(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    tensor([[0.2500, 0.5000],
            [0.7500, 0.5000]], dtype=torch.float64)
    """
    logarithms = power * scores.double().log()
    nobody = (scores == 0).all(dim=0)
    return logarithms.masked_fill(nobody, 0.0).softmax(dim=0)
