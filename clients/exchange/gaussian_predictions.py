"""Predictions of a regression on the transfer set, with the variance of each."""

import torch
from torch import Tensor

from ...knowledge.predictions import moments
from .base import Exchange


class GaussianPredictions(Exchange):
    """Uploads predicted means and variances, standardised, on the round's transfer samples."""

    kind = "gaussian_predictions"

    def values(self, logits: Tensor, temperature: float) -> Tensor:
        """Return means, then variances, of means and logarithms of variances.

        Examples
        --------
        >>> GaussianPredictions().values(torch.tensor([[0.5, 0.0]]), 1.0)
        tensor([[0.5000, 1.0000]])
        """
        del temperature
        mean, log_variance = moments(logits)
        return torch.cat([mean, log_variance.exp()], dim=-1)
