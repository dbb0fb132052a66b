r"""Regression: a sample has one or several numbers; models return their means, perhaps variances.

Models learn standardised targets, ``(y - mean) / std`` of the training split; metrics are in the
units of the targets. With weights w, which sum to 1, and several targets averaged over them::

    RMSE = sqrt( sum_i w_i (y_i - m_i)^2 )      MAE = sum_i w_i |y_i - m_i|
    R2   = 1 - sum_i w_i (y_i - m_i)^2 / sum_i w_i (y_i - sum_j w_j y_j)^2

Locally, w follows the client's own histogram over the bins of the (first) target, as local accuracy
follows its histogram over classes; R2 is then relative to the spread that the client itself sees.

With ``task.variance=true`` a model returns the mean and the logarithm of the variance of each
target, clamped to [-7, 7]: variances from 0.0009 to 1,100, in units of the targets' own. The loss
is the negative log-likelihood of a Gaussian (Nix and Weigend, ICNN 1994; Kendall and Gal, NeurIPS
2017), each term weighted by a power of its variance that carries no gradient (beta-NLL: Seitzer et
al., ICLR 2022)::

    L = 1/2 mean( v^beta ( log v + (y - m)^2 / v + log 2 pi ) )

beta = 0 is the likelihood itself. Its steps are ``lr / v`` wide for the mean, which a model that
fits well does not survive: diamonds, 5 clients, 4 rounds, ``fit.lr=0.05``, RMSE 32,000 and with
FedMD 8,000,000, where squared error has 1,050. beta = 1, the default, has the steps of squared
error: 940 and 850; the paper's 0.5 is 1,290 and diverges.

``nll`` is that in the targets' units, and ``coverage`` the share of targets within the central 90 %
of their Gaussian: 0.9 is best, less is overconfident.
"""

import math
import sys
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge.predictions import HALF_WIDTH, LARGEST_OUTPUT, moments
from ..score import Score
from .base import Task
from .targets import Targets

_LOG_2_PI = math.log(2 * math.pi)


class Regression(Task):
    """Squared error, or Gaussian likelihood; predictions travel.

    Parameters
    ----------
    variance : bool
        Have models predict a variance beside each mean.
    beta : float or None
        With a variance: how far its steps are made those of squared error, in [0, 1]; None = 1.

    Examples
    --------
    >>> about = Targets(["price"], [100.0], [10.0])
    >>> task, weights = Regression(), torch.ones(2).double()
    >>> outputs, targets = torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 1.0])
    >>> {name: round(value, 3) for name, value in
    ...     task.metrics(outputs, targets, weights, about).items()}
    {'rmse': 7.071, 'mae': 5.0, 'r2': nan}
    >>> Regression(variance=True).outputs(about)
    (2,)
    """

    targets = "numbers"
    objectives: ClassVar[Mapping[str, str]] = {
        "predictions": "mse",
        "gaussian_predictions": "gaussian_kl",
    }
    score: ClassVar[Score] = Score("rmse", more=False)

    def __init__(self, variance: bool = False, beta: float | None = None) -> None:
        if beta is not None and not 0 <= beta <= 1:
            raise ValueError(f"beta={beta} must be in [0, 1]")
        if beta is not None and not variance:
            raise ValueError(f"beta={beta} is for variance=true; leave it out")
        self.variance, self.beta = variance, 1.0 if beta is None else beta
        self.kinds = ("gaussian_predictions",) if variance else ("predictions",)

    @property
    def measures(self) -> tuple[str, ...]:
        """Return MAE and R2, with a variance NLL and coverage, each local and global."""
        names = ("mae", "r2", *(("nll", "coverage") if self.variance else ()))
        return tuple(f"{name}_{where}" for name in names for where in ("local", "global"))

    def span(self, name: str) -> tuple[float, float]:
        """Return what each of the metrics can be: finite, and errors at least 0."""
        low, high = -sys.float_info.max, sys.float_info.max
        known = {"r2": (low, 1.0), "nll": (low, high), "coverage": (0.0, 1.0 + 1e-9)}
        return known.get(name.partition("_")[0], (0.0, high))

    def outputs(self, targets: Targets) -> tuple[int, ...]:
        """Return ``(targets,)``, or ``(2 * targets,)``: means, then logarithms of variances."""
        return ((2 if self.variance else 1) * targets.size,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error, or the mean of weighted negative log-likelihoods."""
        wanted = targets if targets.dim() > 1 else targets.unsqueeze(-1)
        if not self.variance:
            return F.mse_loss(outputs, wanted)
        mean, log_variance = moments(outputs)
        squares = (wanted - mean).square() * (-log_variance).exp()
        weights = (self.beta * log_variance.detach()).exp()
        return (weights * (log_variance + squares + _LOG_2_PI)).mean() / 2

    def metrics(
        self, outputs: Tensor, targets: Tensor, weights: Tensor, about: Targets
    ) -> dict[str, float]:
        """Return ``rmse``, ``mae``, ``r2``, with a variance ``nll`` and ``coverage``.

        Outputs that are not finite count as very wrong ones. ``r2`` is nan where the targets do
        not differ.
        """
        scale = torch.tensor(about.std, dtype=torch.float64)
        # nan has no error, and a client that has diverged must not drop out of a mean
        known = (
            outputs.double().nan_to_num(nan=LARGEST_OUTPUT).clamp(-LARGEST_OUTPUT, LARGEST_OUTPUT)
        )
        y = targets.double().reshape(-1, len(scale))
        share = (weights / weights.sum()).unsqueeze(-1)
        mean, log_variance = moments(known) if self.variance else (known, None)
        error = (y - mean) * scale
        squares = (share * error.square()).sum(dim=0)
        spread = (share * ((y - (share * y).sum(dim=0)) * scale).square()).sum(dim=0)
        # a mean that rounding leaves a little off is not a spread
        varied = torch.where(spread > 1e-12 * scale.square(), spread, torch.nan)
        found = {
            "rmse": squares.sqrt().mean(),
            "mae": (share * error.abs()).sum(dim=0).mean(),
            "r2": (1 - squares / varied).mean(),
        }
        if log_variance is not None:
            logs = log_variance + 2 * scale.log()
            each = (logs + error.square() * (-logs).exp() + _LOG_2_PI) / 2
            inside = error.abs() <= HALF_WIDTH * (logs / 2).exp()
            found["nll"] = (share * each).sum(dim=0).mean()
            found["coverage"] = (share * inside).sum(dim=0).mean()
        return {name: value.item() for name, value in found.items()}
