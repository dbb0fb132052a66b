"""Predictions of a regression on the transfer set: the model's outputs as they are."""

from .logits import Logits


class Predictions(Logits):
    """Uploads predicted means, standardised, on the round's transfer samples."""

    kind = "predictions"
