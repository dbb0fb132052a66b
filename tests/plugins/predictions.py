"""A kind of knowledge of its own: what a regression would say, of the class number. For tests."""

import torch
from fedkd.clients.exchange import Exchange
from fedkd.strategies import FusionStrategy

from fedkd.knowledge import Kind


class Predictions(Kind):
    """One number for each transfer sample, ``[samples]`` in [0, classes)."""

    on_samples = True
    dims = 1

    def check(self, values):
        """Say if a number is below 0, or so large that it is no class."""
        low, high = values.aminmax()
        return None if 0 <= low <= high < 100 else f"range: from {low:.3g} to {high:.3g}"

    def drawn(self, noise):
        """Return numbers of some classes."""
        return noise.abs().clamp_max(9)

    def repaired(self, values):
        """Return numbers that are not below 0."""
        return values.clamp_min(0)

    def paired(self, student_logits, values, own, temperature):
        """Return the mean class number that the student expects, and the teacher's."""
        classes = torch.arange(student_logits.shape[-1], dtype=student_logits.dtype)
        return (student_logits / temperature).softmax(dim=-1) @ classes, values


class Expectations(Exchange):
    """Uploads the expected class number of each transfer sample."""

    kind = Predictions("expectations")

    def shape(self, model, samples, classes):
        """Return ``(samples,)``."""
        return (samples,)

    def values(self, logits, temperature):
        """Return the expected class numbers ``[samples]``."""
        return logits.softmax(dim=-1) @ torch.arange(logits.shape[-1], dtype=logits.dtype)


class Mean(FusionStrategy):
    """Mean of the predictions."""

    exchange = f"{__file__}:Expectations"
    objective = "mse"
    per_sample = True
    sums_only = True

    def fuse(self, knowledge):
        """Return ``[samples]``, the mean over clients."""
        return knowledge.values.mean(dim=0)


class Nearest(Mean):
    """Each client learns from those who say what it says."""

    sums_only = False
    fuse = FusionStrategy.fuse

    def weights(self, knowledge):
        """Return weights by distance, ``[clients, clients]``."""
        return (-torch.cdist(knowledge.values, knowledge.values)).softmax(dim=-1)


class ForAll(Predictions):
    """A kind whose teacher is for all clients."""

    personal = False


class ToAll(Expectations):
    """The same, of that kind."""

    kind = ForAll("for_all")


class Private(Nearest):
    """Makes each client a teacher of a kind that is for all."""

    exchange = f"{__file__}:ToAll"


class Typo(Expectations):
    """Names a kind that there is not."""

    kind = "predictionz"


class Unknown(Mean):
    """Exchanges it."""

    exchange = f"{__file__}:Typo"
