"""How a client learns, and when it is measured."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt

from .checked import Auto, Checked, OneOf
from .scheduled import over, schedule

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
    """learning rate; null = as the objective needs it, else fit.lr"""
    optimizer: Annotated[str | None, OneOf(("sgd", "adam", None))] = None
    """sgd or adam; null = as the objective needs it, else fit.optimizer"""
    temperature: Any = 1.0
    """softmax temperature of student and teacher, greater than 0; over rounds, a schedule such as
    {name: linear, start: 4, end: 1}: linear, cosine, exponential, step"""
    weight: Any = 1.0
    """factor of the distillation loss, at least 0, or a schedule of it over rounds"""

    def __post_init__(self) -> None:
        for name in ("temperature", "weight"):  # as OmegaConf does where a field is a float
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                setattr(self, name, float(value))

    def check(self) -> None:
        """Raise `ConfigError` for what is neither a number that can be used nor a schedule."""
        self.temperature_at(1)
        self.weight_at(1)

    def temperature_at(self, number: int) -> float:
        """Return the softmax temperature of a round.

        Examples
        --------
        >>> warm = DistilConfig(temperature={"name": "linear", "start": 4, "end": 1}).over(4)
        >>> [warm.temperature_at(number) for number in range(1, 6)], warm.weight_at(3)
        ([4.0, 3.0, 2.0, 1.0, 1.0], 1.0)
        """
        return schedule("distil.temperature", self.temperature).at(number)

    def weight_at(self, number: int) -> float:
        """Return the factor of the distillation loss in a round."""
        return schedule("distil.weight", self.weight, zero=True).at(number)

    def over(self, rounds: int) -> "DistilConfig":
        """Return the same with schedules that know over how many rounds they are.

        Raises
        ------
        ConfigError
            If one cannot be over so many.
        """
        return replace(
            self,
            temperature=over("distil.temperature", self.temperature, rounds),
            weight=over("distil.weight", self.weight, rounds),
        )

    def columns(self, number: int) -> dict[str, float]:
        """Return what a round's row in the tables says of the schedules that there are."""
        found = {
            "distil_temperature": (self.temperature, self.temperature_at),
            "distil_weight": (self.weight, self.weight_at),
        }
        return {key: at(number) for key, (value, at) in found.items() if isinstance(value, dict)}


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
