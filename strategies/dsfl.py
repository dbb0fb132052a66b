"""DS-FL: the mean of the clients' soft labels, with reduced entropy.

Itahara et al., "Distillation-Based Semi-Supervised Federated Learning for Communication-Efficient
Collaborative Training with Non-IID Private Data", IEEE TMC 2021, arXiv 2008.06180. Confidence:
certain (two public implementations agree)::

    era   teacher(x) = softmax( mean_n p_n(x) / T )      T = 0.1
    sa    teacher(x) = mean_n p_n(x)

The softmax is of the mean *probabilities* over T, not of logits: at T = 1 it flattens. The paper's
server distils a model of its own too; here the clients' models are what counts. A regression has no
probabilities to sharpen: ``sa`` is the mean of the predictions then.
"""

from typing import Literal

from torch import Tensor

from ..errors import ConfigError
from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..maths.mixing import sharpen_era
from ..rounds.protocol import Strategy
from ..tasks import Task
from .base import FusionStrategy


class DSFL(FusionStrategy):
    """Mean soft labels, sharpened by entropy reduction.

    Parameters
    ----------
    aggregation : {"era", "sa"}
        Entropy reduction, or the plain mean.
    era_temperature : float
        T, > 0.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[0.8, 0.2]], [[0.4, 0.6]]])
    >>> DSFL().fuse(KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1)))
    tensor([[0.8808, 0.1192]])
    """

    per_sample = True
    sums_only = True
    kinds = (*CLASS_SCORES, *NUMBERS)

    def __init__(
        self,
        aggregation: Literal["era", "sa"] = "era",
        era_temperature: float = 0.1,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if not era_temperature > 0:
            raise ValueError(f"era_temperature={era_temperature} must be greater than 0")
        self.aggregation, self.era_temperature = aggregation, era_temperature

    def suited(self, task: Task) -> "Strategy":
        """Refuse to sharpen what is no distribution over classes."""
        suited = super().suited(task)
        if "soft_labels" not in task.kinds and self.aggregation == "era":
            problem = "sharpens class probabilities, and the task has none; use sa"
            raise ConfigError("strategy.aggregation", "era", problem)
        return suited

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of T, where nothing is sharpened."""
        found = super().unused(kind)
        if self.aggregation == "sa":
            found["era_temperature"] = "has no effect with strategy.aggregation=sa; leave one out"
        return found

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher ``[samples, classes]``."""
        mean = knowledge.mean()
        return mean if self.aggregation == "sa" else sharpen_era(mean, self.era_temperature)
