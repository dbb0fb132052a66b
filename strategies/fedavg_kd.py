"""FedAvg+KD: the averaged model learns from its clients' mean probabilities.

A baseline without a paper of its own, as FedMAQ's code has it. Confidence: certain (that code)::

    w = sum_n samples_n * w_n / sum_n samples_n          for each architecture
    w <- argmin T^2 KL( mean_n softmax(f_n(x) / T) || softmax(f(x) / T) )

over the transfer set: one epoch of SGD with momentum 0.9 in batches of 64, in training mode. It
differs from FedDF in what is averaged (probabilities, where that has logits), in T^2 and in how
long the server learns. Its 3,000 server images are ``transfer.size`` here; as in FedDF the ensemble
is that of all clients whatever their architecture. Nothing is remembered but the models.
"""

from dataclasses import replace
from functools import partial

from torch import Tensor

from ..rounds.server import Study
from .feddf import FedDF, ensemble_loss, mean_probability


class FedAvgKD(FedDF):
    """FedAvg, refined by the mean of the clients' probabilities.

    Parameters
    ----------
    temperature : float
        T of ensemble and student, > 0.
    epochs : int
        Passes over the round's transfer samples at the server, >= 0; 0 is FedAvg.
    lr : float
        The server's learning rate, > 0.

    Examples
    --------
    >>> import torch
    >>> FedAvgKD().ensemble(torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()).softmax(-1)
    tensor([[0.7000, 0.3000]])
    """

    def __init__(self, temperature: float = 1.0, epochs: int = 1, lr: float = 0.01) -> None:
        super().__init__(temperature, epochs, lr)

    def ensemble(self, logits: Tensor) -> Tensor:
        """Return T times the logarithms of the members' mean probabilities."""
        temperature = self.temperature or 1.0
        return temperature * mean_probability(logits, temperature)

    def lesson(self, study: Study) -> Study:
        """Return what an average learns, with the factor T^2."""
        temperature = self.temperature or 1.0
        loss = partial(ensemble_loss, temperature=temperature, weight=temperature**2)
        return replace(super().lesson(study), loss=loss)
