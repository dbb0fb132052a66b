"""KAFAL on soft labels (our extension): KCFU's fit, soft labels instead of parameters.

The model right after digesting the consensus plays the global model's part: it compensates in the
next fit, and samplers compare it with the model after that fit. So architectures may differ.
"""

from collections.abc import Mapping

from torch import nn

from ...knowledge import Knowledge, Target
from ...models.flat import flatten
from ..active import GLOBAL, ActiveLearner, frozen
from .phase import Phase
from .soft_labels import SoftLabels


class KCFULabels(ActiveLearner, SoftLabels):
    """Uploads soft labels after a fit on the labelled pool, with its label counts if asked to.

    Parameters
    ----------
    share_counts : bool
        Whether the labelled samples of each class are uploaded (class-wise aggregation needs
        that); their sum is always.
    **active
        See `ActiveLearner`.
    """

    counted = ("samples", "counts")

    def __init__(self, share_counts: bool = False, **active: float | str | bool | None) -> None:
        super().__init__(**active)  # type: ignore[arg-type]
        self.share_counts = share_counts

    def extras(self, model: nn.Module, classes: int) -> Mapping[str, tuple[int, ...]]:
        """Declare ``samples`` ``[1]``, and ``counts`` ``[classes]`` if they are shared."""
        del model
        return {"samples": (1,)} | ({"counts": (classes,)} if self.share_counts else {})

    def fit(self, phase: Phase) -> dict[str, float]:
        """Fit on the labelled pool; the model that digested the last consensus compensates."""
        known = phase.client.tensors.get(GLOBAL)
        asked = phase.options.get("compensate") and known is not None
        return self.update(phase, frozen(phase, known) if asked else None)

    def upload(self, phase: Phase) -> Knowledge:
        """Return soft labels and how many labels are behind them."""
        plain, counts = super().upload(phase), self.pools(phase).counts(phase.classes).float()
        extras = {"samples": counts.sum().reshape(1)}
        if self.share_counts:
            extras["counts"] = counts
        return Knowledge(plain.client, plain.kind, plain.values, plain.sample_ids, extras=extras)

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Digest the consensus, and remember the model that this makes."""
        numbers = super().learn(phase, target)
        phase.client.tensors[GLOBAL] = flatten(phase.client.model)
        return numbers
