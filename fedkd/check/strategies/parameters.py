"""Whoever sets a parameter changes something."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import torch

from ...config.hints import fits, signature
from ...errors import FedkdError
from ...plugins import REQUIRED
from ..promises import Broken, Skipped
from .subject import SAMPLES, Subject

RUN: dict[str, Any] = {
    "clients": 4,
    "rounds": 4,
    "fit.batch_size": 8,
    "data.partitioner": {
        "_target_": "flwr_datasets.partitioner.InnerDirichletPartitioner",
        "partition_sizes": [12, 20, 36, 20],
    },
}
"""Settings of the runs: several steps an epoch, clients of unequal size."""

MIXED = ["mlp", "lenet5"]
"""Models for methods that are about several architectures."""

NUMBERS = (1, 2, 0.5, 3, 0.1, 0, 0.9, 20)
"""What is tried for a number, beside half and twice its default; refused values are passed by."""

TEXTS = ("lenet5", "mlp")
"""What is tried for a text: those that methods have are names of models."""


UNUSED, UNTRIED = "without effect, and refused", "not tried"


def effective(subject: Subject) -> str:
    """Change one parameter after the other, in runs of a few rounds, until something changes."""
    strategy, found = subject.make(), dict[str, list[str]]()
    idle = strategy.unused(subject.setting.expect(0, 1, torch.arange(SAMPLES)).kind)
    before: object = None
    for name, parameter in signature(type(strategy)).items():
        if name in idle:
            found.setdefault(UNUSED, []).append(name)
            continue
        before = before or outcome(subject, {})
        value = vars(strategy).get(name, strategy.brief.get(name, parameter.default))
        others = candidates(parameter.annotation, value)
        changed, tried = changes(subject, name, others, before)
        if tried and not changed:
            told = f"strategy.{name} changes nothing (tried {', '.join(tried)})"
            raise Broken(f"{told}: use it, or say in unused() why not")
        found.setdefault("changing" if changed else UNTRIED, []).append(name)
    if not found:
        raise Skipped("it has no parameters")
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items())


def changes(
    subject: Subject, name: str, values: Iterator[Any], before: object
) -> tuple[bool, list[str]]:
    """Say whether a value of a parameter changes something, and which were tried."""
    tried = []
    for value in values:
        try:
            after = outcome(subject, {f"strategy.{name}": value})
        except FedkdError:
            continue
        tried.append(str(value))
        if after != before:
            return True, tried
    return False, tried


def outcome(subject: Subject, settings: dict[str, Any]) -> object:
    """Return what a run comes to: models, what the server keeps, accuracies, and bytes."""
    more = {"model": MIXED} if subject.make().mixed else {}
    summary = subject.run(**RUN, **more, **settings).summary
    names = ("digest", "alma_local", "alma_global", "bytes_up", "bytes_down")
    return [summary[name] for name in names]


def candidates(hint: Any, value: Any) -> Iterator[Any]:
    """Yield other values that a parameter may have, if its hint or value says anything of them.

    Examples
    --------
    >>> list(candidates(bool, True)), list(candidates(Literal["l2", "kl"], "l2"))
    ([False], ['kl'])
    >>> list(candidates(int, 10))[:3], list(candidates(str | None, None))
    ([1, 2, 3], ['lenet5', 'mlp'])
    """
    if hint is REQUIRED and value is not None:
        hint = float if type(value) is int else type(value)
    if fits(object(), hint):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    near = (value / 2, value * 2, value // 2) if number else ()
    options = get_args(hint) if get_origin(hint) is Literal else ()
    for other in (*options, True, False, *NUMBERS, *near, *TEXTS):
        if other != value and fits(other, hint):
            yield other
