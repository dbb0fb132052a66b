"""A client loop that reports where it runs, and strategies that misbehave; used by tests."""

import os
import traceback

import torch
from fedkd.clients.standard import Standard
from fedkd.strategies import FusionStrategy


class Probe(Standard):
    """Reports its process, and whether Flower's Ray transport called it."""

    def fit(self, clients):
        """Fit as usual."""
        frames = traceback.extract_stack()
        flower = any("flwr/simulation/ray_transport" in frame.filename for frame in frames)
        found = {"pid": float(os.getpid()), "flower": float(flower)}
        return [numbers | found for numbers in super().fit(clients)]


class Faulty(Standard):
    """Fails for some clients, or for all."""

    def __init__(self, below: int = 1, **settings):
        super().__init__(**settings)
        self.below = below

    def fit(self, clients):
        """Fail for the first clients."""
        if clients[0].index < self.below:
            raise FloatingPointError("the sensor is on fire")
        return super().fit(clients)


class Hostile(Standard):
    """Predicts NaN for client 0 on the transfer set."""

    def predict(self, clients, x):
        """Answer with NaN."""
        answers = super().predict(clients, x)
        spoilt = clients[0].index == 0 and len(x) == 200
        return [answer * torch.nan for answer in answers] if spoilt else answers


class WrongShape(FusionStrategy):
    """Returns one class too few."""

    def fuse(self, knowledge):
        """Return ``[samples, classes - 1]``."""
        return knowledge.soft_labels.mean(dim=0)[:, 1:]


class NotANumber(FusionStrategy):
    """Returns NaN."""

    per_sample = True

    def fuse(self, knowledge):
        """Return NaN."""
        return knowledge.soft_labels.mean(dim=0) * torch.nan


class Negative(FusionStrategy):
    """Returns negative soft labels."""

    def fuse(self, knowledge):
        """Return values below 0."""
        return knowledge.soft_labels.mean(dim=0) - 0.2


class Raises(FusionStrategy):
    """Raises."""

    def fuse(self, knowledge):
        """Raise."""
        raise ZeroDivisionError("oops")


NotAClass = 3
