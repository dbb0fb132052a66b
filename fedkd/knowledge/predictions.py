"""Kinds of knowledge of a regression: what clients predict for each transfer sample.

Numbers are standardised with the constants of the training split. A variance travels as such, not
as its logarithm: a mixture of Gaussians then has the moments

    mu = sum_n w_n mu_n          v = sum_n w_n (v_n + mu_n^2) - mu^2

``distribution`` is how a client's predictions are spread, for methods that compare clients by that.
"""

import math

import torch
from torch import Tensor

from .kinds import KINDS, Kind

LOG_VARIANCE = 7.0
"""Largest magnitude of the logarithm of a variance."""

LEAST, MOST = math.exp(-LOG_VARIANCE), math.exp(LOG_VARIANCE)

HALF_WIDTH = 1.6448536269514722
"""Standard deviations either side of the mean that hold 90 % of a Gaussian."""

LARGEST_OUTPUT = 1e4
"""Predictions beyond this magnitude, in standard deviations of the targets, count as this."""

BINS = 10
"""Intervals of `Predictions.distribution`."""


def moments(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and logarithms of variances, clamped, of outputs ``[..., 2 * targets]``."""
    mean, log_variance = outputs.chunk(2, dim=-1)
    return mean, log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)


class Predictions(Kind):
    """Means ``[samples, targets]``, in standard deviations of the training targets.

    Examples
    --------
    >>> kind = Predictions("predictions")
    >>> kind.distribution(torch.tensor([[[0.0]] * 9 + [[1.0]]] * 2)).shape
    torch.Size([2, 10])
    """

    on_samples = True

    def check(self, values: Tensor) -> str | None:
        """Say if a number is out of all proportion."""
        high = values.abs().max().item()
        limit = f"{LARGEST_OUTPUT:g} standard deviations of the targets"
        return f"magnitude: {high:.3g} is above {limit}" if high > LARGEST_OUTPUT else None

    def drawn(self, noise: Tensor) -> Tensor:
        """Return the noise."""
        return noise

    def apart(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return the variance between clients, mean over targets, in units of the targets' own."""
        found, shares = values.double(), weights.unsqueeze(-1)
        mean = (shares * found).sum(dim=0)
        return (shares * (found - mean).square()).sum(dim=0).mean(dim=-1)

    def distribution(self, values: Tensor) -> Tensor:
        """Return each client's shares of predictions in the bins of all clients' ``[n, bins]``.

        Our construction, for what an EPD over classes is otherwise. Per target, bins are parted by
        the quantiles 0.1 ... 0.9 of the predictions of all clients together; a client's share of a
        bin is how many of its predictions lie there, plus one: no share is 0. Several targets are
        put one after the other, each with an equal share of the whole.

        Parameters
        ----------
        values : Tensor
            ``[n, samples, targets]``.

        Returns
        -------
        Tensor
            ``[n, targets * bins]``, rows sum to 1.
        """
        shares = []
        for column in values.movedim(-1, 0).contiguous():
            edges = _edges(column)
            place = torch.bucketize(column, edges, right=True)
            counts = torch.nn.functional.one_hot(place, BINS).sum(dim=1).float() + 1
            shares.append(counts / counts.sum(dim=-1, keepdim=True))
        return torch.cat(shares, dim=-1) / len(shares)


class GaussianPredictions(Predictions):
    """Means, then variances ``[samples, 2 * targets]``, in units of the training targets' own."""

    plain = False

    def check(self, values: Tensor) -> str | None:
        """Say if a variance is none that a model could have."""
        mean, variance = values.chunk(2, dim=-1)
        low, high = map(float, variance.aminmax())
        if low < LEAST * (1 - 1e-3):
            return f"variance: {low:.3g} is below {LEAST:.3g}"
        # that of a mixture also has the spread of its means
        limit = MOST * (1 + 1e-3) + LARGEST_OUTPUT**2
        return f"variance: {high:.3g} is too large" if high > limit else super().check(mean)

    def blank(self, shape: tuple[int, ...]) -> Tensor:  # type: ignore[override]
        """Return the training split's mean and variance."""
        mean = torch.zeros(*shape[:-1], shape[-1] // 2)
        return torch.cat([mean, torch.ones_like(mean)], dim=-1)

    def drawn(self, noise: Tensor) -> Tensor:
        """Return the noise as means and logarithms of variances."""
        mean, log_variance = moments(noise)
        return torch.cat([mean, log_variance.exp()], dim=-1)

    def repaired(self, values: Tensor) -> Tensor:
        """Return variances that rounding has left below the least, at the least."""
        mean, variance = values.chunk(2, dim=-1)
        return torch.cat([mean, variance.clamp_min(LEAST)], dim=-1)

    def linear(self, values: Tensor) -> Tensor:
        """Return first and second moments, which mix linearly."""
        mean, variance = values.double().chunk(2, dim=-1)
        return torch.cat([mean, variance + mean.square()], dim=-1)

    def mixed(self, values: Tensor) -> Tensor:
        """Return means and variances of mixed moments."""
        mean, second = values.chunk(2, dim=-1)
        return torch.cat([mean, second - mean.square()], dim=-1).float()

    def paired(
        self, student_logits: Tensor, values: Tensor, own: float, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return the means, for losses that compare numbers."""
        del own, temperature
        return student_logits.chunk(2, dim=-1)[0], values.chunk(2, dim=-1)[0]

    def apart(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return the variance between clients' means, as for plain predictions."""
        return super().apart(values.chunk(2, dim=-1)[0], weights)

    def distribution(self, values: Tensor) -> Tensor:
        """Return each client's mass in the bins: that of the mixture of its Gaussians.

        Bins are parted by the quantiles of all clients' means; else as for plain predictions, with
        as much added as one sample in a bin.
        """
        means, variances = values.double().chunk(2, dim=-1)
        shares = []
        for mean, variance in zip(means.unbind(dim=-1), variances.unbind(dim=-1), strict=True):
            edges = _edges(mean)
            scaled = (edges - mean.unsqueeze(-1)) / variance.sqrt().unsqueeze(-1)
            below = (0.5 * (1 + torch.erf(scaled / math.sqrt(2)))).sum(dim=1)
            whole = torch.full_like(below[:, :1], mean.shape[1])
            edge = [torch.zeros_like(whole), below, whole]
            counts = torch.cat(edge, dim=-1).diff(dim=-1) + 1
            shares.append(counts / counts.sum(dim=-1, keepdim=True))
        return (torch.cat(shares, dim=-1) / len(shares)).float()


def _edges(column: Tensor) -> Tensor:
    """Return the inner quantiles of all predictions ``[n, samples]``, ``[bins - 1]``."""
    ordered = column.flatten().sort().values
    places = torch.arange(1, BINS) * len(ordered) // BINS
    return ordered[places]


for _kind in (Predictions("predictions"), GaussianPredictions("gaussian_predictions")):
    KINDS[_kind] = _kind
