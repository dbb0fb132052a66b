"""Logits, and for each sample how densely the client's own features lie around it."""

from typing import ClassVar

from .density_labels import DensityLabels
from .logits import Logits


class DensityLogits(DensityLabels):
    """As `DensityLabels`, with logits in place of soft labels."""

    kind: ClassVar[str] = "logits"
    values = Logits.values
