"""What a task is: what samples mean, how models learn from them, what they are measured by.

Subclass `Task` to bring one of your own, as ``task=./mine.py:Mine``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..score import Score
from .targets import Targets

Scores = Callable[[Tensor], dict[str, float]]
"""A client's histogram ``[groups]`` -> its numbers."""


@dataclass(frozen=True)
class Tested:
    """The samples that models are measured on: the test split, or a subset that stands for it.

    Parameters
    ----------
    targets : Tensor
        ``[n]`` int64 classes, float32 ``[n]`` or ``[n, targets]``, standardised, or ``[n, length]``
        int64, next tokens.
    groups : Tensor
        ``[n]`` int64: each sample's class, or the bin of its target. Clients differ in how many
        samples of each group they hold.
    whole : Tensor
        ``[groups]`` float64, samples of each group in the whole test split.
    """

    targets: Tensor
    groups: Tensor
    whole: Tensor

    @cached_property
    def counts(self) -> Tensor:
        """Samples of each group among those measured on, ``[groups]``."""
        return torch.bincount(self.groups, minlength=len(self.whole))

    @property
    def complete(self) -> bool:
        """Whether they are the whole test split."""
        return len(self.groups) == int(self.whole.sum())

    def weights(self, histogram: Tensor) -> Tensor:
        """Return for how many samples each stands, ``[n]`` float64, if groups count like that."""
        return (histogram / self.counts)[self.groups]


class Task(ABC):
    """What the samples of a run mean.

    Attributes
    ----------
    targets : {"classes", "numbers", "tokens"}
        What labels are to be; ``tokens`` are those that follow in running text.
    kinds : tuple of str
        Kinds of knowledge on samples that its predictions can travel as, the usual one first.
    objectives : mapping
        The distillation loss that ``objective=auto`` is for a kind, where a strategy did not
        choose the kind itself.
    score : Score
        The headline: name, direction, and how it is shown.
    at_once : int or None
        Samples whose outputs are `condensed` together where models are measured; None = all.
    """

    targets: ClassVar[Literal["classes", "numbers", "tokens"]]
    kinds: tuple[str, ...]
    objectives: ClassVar[Mapping[str, str]] = {}
    score: ClassVar[Score]
    at_once: ClassVar[int | None] = None

    @property
    def needs_classes(self) -> bool:
        """Whether its labels are classes, which some methods, attacks and mechanisms need."""
        return self.targets == "classes"

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the numbers a client may have, besides ``local``, ``global``, ``validation``."""
        return ()

    def column(self, name: str) -> str:
        """Return the column of ``rounds.parquet`` that has the mean of a client's number."""
        return self.score.column(name) if name in ("local", "global", "validation") else name

    def span(self, name: str) -> tuple[float, float]:
        """Return between which numbers a client's number lies; nan is none to be had."""
        del name
        return -float("inf"), float("inf")

    @abstractmethod
    def outputs(self, targets: Targets) -> tuple[int, ...]:
        """Return the shape of what a model returns for one sample: ``(*places, size)``.

        Knowledge has a row for each place; see `fedkd.tasks.rows`.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of a private batch, a mean over samples.

        Parameters
        ----------
        outputs : Tensor
            ``[batch, *outputs]``, with gradient.
        targets : Tensor
            ``[batch, ...]``.
        """

    def condensed(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what `metrics` needs of outputs, ``[n, ...]``; by default, the outputs.

        Parameters
        ----------
        outputs : Tensor
            ``[n, *outputs]``, or their rows, on the CPU. What is not finite must stay so.
        targets : Tensor
            ``[n, ...]``.
        """
        del targets
        return outputs

    @abstractmethod
    def metrics(
        self, outputs: Tensor, targets: Tensor, weights: Tensor, about: Targets
    ) -> dict[str, float]:
        """Return a model's metrics, ``score.metric`` among them.

        Parameters
        ----------
        outputs, targets : Tensor
            What `condensed` made of outputs, and ``[n, ...]``, on the CPU.
        weights : Tensor
            ``[n]`` float64, at least 0: for how many samples each stands. nan if that is none.
        about : Targets
            What the labels are.
        """

    def named(self, numbers: Mapping[str, float], where: str) -> dict[str, float]:
        """Return what `metrics` has, named as a client's numbers are: the headline is `where`."""
        return {
            where if name == self.score.metric else f"{name}_{where}": value
            for name, value in numbers.items()
        }

    def examined(self, outputs: Tensor, tested: Tested, about: Targets) -> Scores:
        """Look at condensed outputs on what a model is tested on; return what scores a client.

        ``global`` is on the whole test split, ``local`` under the client's own distribution: each
        group counts as much as it does there. What else `metrics` returns has its name before it.
        """
        everywhere = self.metrics(outputs, tested.targets, tested.weights(tested.whole), about)

        def scores(histogram: Tensor) -> dict[str, float]:
            own = tested.weights(histogram)
            return {
                **self.named(self.metrics(outputs, tested.targets, own, about), "local"),
                **self.named(everywhere, "global"),
            }

        return scores

    def check_outputs(self, outputs: Tensor, samples: int, about: Targets) -> str | None:
        """Say what is wrong with a model's outputs for so many samples; None if nothing is."""
        wanted = (samples, *self.outputs(about))
        if tuple(outputs.shape) != wanted:
            return f"must return shape {wanted} for {samples} samples, not {tuple(outputs.shape)}"
        return None if bool(outputs.isfinite().all()) else "must return finite numbers"
