"""How a client learns, and when it is measured."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from .checked import Auto, Checked, OneOf

POINTS = 10
"""Rounds that ``evaluate.every=auto`` evaluates each time the number of rounds doubles."""

SUBSET = 2_000
"""Test samples that ``evaluate.samples=auto`` takes."""


@dataclass
class FitConfig(Checked):
    """A client's training on its private data."""

    epochs: Annotated[int, Ge(0)] = 2
    """passes over the private data per round"""
    batch_size: Annotated[int, Ge(1)] = 32
    """samples per step"""
    lr: Annotated[float, Gt(0)] = 0.05
    """learning rate"""
    momentum: Annotated[float, Ge(0)] = 0.9
    """SGD momentum (ignored by adam)"""
    optimizer: Annotated[str, OneOf(("sgd", "adam"))] = "sgd"
    """sgd or adam"""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """L2 penalty on the weights, in all local training"""
    augment: bool = False
    """flip and crop private images at random"""
    align: bool | Annotated[str, OneOf(("upload",))] = False
    """scale the head's rows of frequent classes to the others' norm; upload = for labelling only"""


@dataclass
class DistilConfig(Checked):
    """A client's training on its teacher."""

    epochs: Annotated[int, Ge(0)] = 1
    """passes over the round's transfer samples"""
    batch_size: Annotated[int, Ge(1)] = 32
    """samples per step"""
    lr: Annotated[float | None, Gt(0)] = None
    """learning rate; null = fit.lr"""
    temperature: Annotated[float, Gt(0)] = 1.0
    """softmax temperature of student and teacher"""


@dataclass
class EvaluateConfig(Checked):
    """When and on what the clients' models are measured."""

    every: Annotated[int, Ge(1)] | Auto = 1
    """rounds between evaluations; auto = 1, from 20 on 2, from 40 on 4, ...; the last is always"""
    samples: Annotated[int, Ge(1)] | Auto | None = "auto"
    """class-balanced subset of the test split; auto = 2000; null = all. The last round uses all"""

    def due(self, number: int) -> bool:
        """Say whether a round before the last is evaluated, whatever the last will be.

        Examples
        --------
        >>> [n for n in range(1, 101) if n > 30 and EvaluateConfig(every="auto").due(n)]
        [32, 34, 36, 38, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 88, 96]
        """
        every = self.every
        if isinstance(every, str):
            every = 1 << max(0, (number // POINTS).bit_length() - 1)
        return number % every == 0

    def subset(self, test: int) -> int:
        """Return how many of so many test samples rounds before the last take; 0 = all.

        Examples
        --------
        >>> [EvaluateConfig().subset(test) for test in (360, 10_000)]
        [0, 2000]
        """
        some = SUBSET if isinstance(self.samples, str) else self.samples
        return some if some and some < test else 0
