"""Classification: a sample has one class; models return a logit for each."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from ..score import ALMA, Score
from .base import Scores, Task, Tested
from .evaluation import calibration_error, local_accuracy, recall, sampling_error
from .targets import Targets


class Classification(Task):
    """Cross-entropy; accuracy; soft labels or logits travel.

    Examples
    --------
    >>> import torch
    >>> about = Targets(["cat", "dog"], [], [])
    >>> Classification().outputs(about)
    (2,)
    >>> logits, ones = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.ones(2).double()
    >>> Classification().metrics(logits, torch.tensor([0, 1]), ones, about)
    {'accuracy': 0.5}
    """

    targets = "classes"
    kinds = ("soft_labels", "logits")
    score: ClassVar[Score] = ALMA

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the calibration error."""
        return ("ece",)

    def column(self, name: str) -> str:
        """Return ``alma_NAME``."""
        return self.score.column(name)

    def span(self, name: str) -> tuple[float, float]:
        """Return 0 and 1."""
        del name
        return 0.0, 1.0

    def outputs(self, targets: Targets) -> tuple[int, ...]:
        """Return ``(classes,)``."""
        return (targets.size,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(outputs, targets)

    def metrics(
        self, outputs: Tensor, targets: Tensor, weights: Tensor, about: Targets
    ) -> dict[str, float]:
        """Return the accuracy."""
        del about
        right = (outputs.argmax(dim=1) == targets).double()
        return {self.score.metric: ((right * weights).sum() / weights.sum()).item()}

    def examined(self, outputs: Tensor, tested: Tested, about: Targets) -> Scores:
        """Return what gives a client its local and global accuracy, and ECE, all in [0, 1].

        Those on a subset are estimates of what the whole test split would give: each class counts
        as it does there. ``local_se`` and ``global_se`` are their standard errors.
        """
        labels, whole = tested.targets, tested.whole
        right = recall(outputs, labels, about.size)
        if tested.complete:
            overall = (outputs.argmax(dim=1) == labels).double().mean().item()
            common = {"global": overall, "ece": calibration_error(outputs, labels)}
        else:
            common = {
                "global": local_accuracy(right, whole),
                "global_se": sampling_error(right, tested.counts, whole, whole),
                "ece": calibration_error(outputs, labels, weights=tested.weights(whole)),
            }

        def scores(histogram: Tensor) -> dict[str, float]:
            numbers = {"local": local_accuracy(right, histogram), **common}
            if "global_se" in common:
                numbers["local_se"] = sampling_error(right, tested.counts, whole, histogram)
            return numbers

        return scores
