"""What a sampler is. Subclass `ScoreSampler` (or `Sampler`) to write one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ...maths.acquisition import rank_fusion, ranking

Which = Literal["local", "global", "alone"]
Part = Literal["unlabelled", "labelled"]
Selector = Literal["global", "local", "both"]

MODELS: dict[str, tuple[Which, ...]] = {
    "global": ("global",),
    "local": ("local",),
    "both": ("global", "local"),
}
"""The models that each selector looks at."""


@dataclass
class Pool:
    """What a sampler sees of one client in one cycle.

    Three models can be asked: ``"local"``, the client's right after its last fit of the cycle;
    ``"global"``, the aggregated one, as the client last had it; ``"alone"``, trained from scratch
    on the client's labelled samples only.

    Parameters
    ----------
    x : Tensor
        ``[unlabelled, *shape]``, samples to pick from.
    labelled_x, labelled_y : Tensor
        ``[labelled, *shape]`` and ``[labelled]`` int64.
    counts : Tensor
        ``[classes]``, labelled samples of each class, as the local model was trained on.
    predict, embed : callable
        From the name of a model and samples to its logits ``[samples, classes]`` and to its
        features ``[samples, dim]``, in evaluation mode. They should train and cache what
        ``"alone"`` needs on first use: only few samplers ask for it.
    generator : torch.Generator
        The client's random stream of this cycle.
    """

    x: Tensor
    labelled_x: Tensor
    labelled_y: Tensor
    counts: Tensor
    predict: Callable[[str, Tensor], Tensor]
    embed: Callable[[str, Tensor], Tensor]
    generator: torch.Generator
    _known: dict[tuple[str, Which, Part], Tensor] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if len(self.labelled_x) != len(self.labelled_y):
            sizes = f"{len(self.labelled_x)} samples, {len(self.labelled_y)} labels"
            raise ValueError(f"the labelled part has {sizes}")

    def logits(self, which: Which, part: Part = "unlabelled") -> Tensor:
        """Return a model's logits ``[samples, classes]``; computed once.

        Raises
        ------
        ValueError
            If some are not finite.
        """
        return self._ask("logits", self.predict, which, part)

    def features(self, which: Which, part: Part = "unlabelled") -> Tensor:
        """Return a model's features ``[samples, dim]``; computed once.

        Raises
        ------
        ValueError
            If some are not finite.
        """
        return self._ask("features", self.embed, which, part)

    def _ask(
        self, what: str, ask: Callable[[str, Tensor], Tensor], which: Which, part: Part
    ) -> Tensor:
        key = what, which, part
        if key not in self._known:
            x = self.x if part == "unlabelled" else self.labelled_x
            values = ask(which, x).detach().cpu()
            whose = f"the {which} model's {what} of the {part} samples"
            if values.dim() != 2 or len(values) != len(x):
                raise ValueError(f"{whose} have shape {list(values.shape)}, not [{len(x)}, any]")
            bad = int((~values.isfinite()).any(dim=1).sum())
            if bad:
                raise ValueError(f"{whose} are not finite for {bad} of {len(x)}: it has diverged")
            self._known[key] = values
        return self._known[key]


class Sampler:
    """Picks samples to be labelled. Override `choose`."""

    def pick(self, pool: Pool, budget: int) -> Tensor:
        """Return distinct positions into ``pool.x``, the most wanted first.

        Parameters
        ----------
        pool : Pool
            What is known of the client.
        budget : int
            At least 0.

        Returns
        -------
        Tensor
            ``[min(budget, len(pool.x))]`` int64.

        Raises
        ------
        ValueError
            If the budget is negative, a model's answers are not finite, or `choose` does not
            return so many distinct positions.
        """
        if budget < 0:
            raise ValueError(f"budget={budget} must be at least 0")
        budget = min(budget, len(pool.x))
        if not budget:  # nothing to ask: not worth a forward pass
            return torch.zeros(0, dtype=torch.int64)
        picked = self.choose(pool, budget)
        inside = bool(((picked >= 0) & (picked < len(pool.x))).all())
        if picked.shape != (budget,) or not inside or len(picked.unique()) < budget:
            name = type(self).__name__
            raise ValueError(f"{name} did not pick {budget} distinct of {len(pool.x)} samples")
        return picked

    def choose(self, pool: Pool, budget: int) -> Tensor:
        """Return ``[budget]`` positions, where ``0 < budget <= len(pool.x)``."""
        raise NotImplementedError(f"{type(self).__name__} must define choose()")


class ScoreSampler(Sampler):
    """Picks the samples with the highest scores; equal ones at random. Override `score`."""

    def score(self, pool: Pool) -> Tensor:
        """Return ``[unlabelled]``, higher = more wanted."""
        raise NotImplementedError(f"{type(self).__name__} must define score()")

    def choose(self, pool: Pool, budget: int) -> Tensor:
        """Shuffle, sort stably by score, take the top."""
        scores = self._scores(pool, budget)
        if scores.shape != (len(pool.x),):
            wanted = f"[{len(pool.x)}]"
            raise ValueError(f"{type(self).__name__} scored {list(scores.shape)}, not {wanted}")
        return ranking(scores, pool.generator)[:budget]

    def _scores(self, pool: Pool, budget: int) -> Tensor:
        """Return the scores that decide among so many picks."""
        del budget
        return self.score(pool)


class UncertaintySampler(ScoreSampler):
    """Picks what a model is least sure of. Override `uncertainty`.

    Parameters
    ----------
    selector : {"global", "local", "both"}
        Whose doubt counts. "both" adds up ``1 / (20 + rank)`` over the two models, rank 0 for the
        sample that a model doubts most; only the first ``budget`` of each model's list count
        (LoGo's public code).
    """

    def __init__(self, *, selector: Selector = "global") -> None:
        self.models = models_of(selector)

    def score(self, pool: Pool) -> Tensor:
        """Return the model's uncertainty, or the fused ranks of both, to the lists' ends."""
        return self._scores(pool, len(pool.x))

    def _scores(self, pool: Pool, budget: int) -> Tensor:
        scores = [self.uncertainty(pool.logits(m).double().softmax(dim=-1)) for m in self.models]
        return scores[0] if len(scores) == 1 else rank_fusion(scores, budget)

    def uncertainty(self, p: Tensor) -> Tensor:
        """Return ``[samples]`` of probabilities ``[samples, classes]``, higher = less sure."""
        raise NotImplementedError(f"{type(self).__name__} must define uncertainty()")


def models_of(selector: str) -> tuple[Which, ...]:
    """Return the models that a selector names.

    Examples
    --------
    >>> models_of("both")
    ('global', 'local')
    """
    if selector not in MODELS:
        raise ValueError(f"selector={selector} must be one of {', '.join(MODELS)}")
    return MODELS[selector]
