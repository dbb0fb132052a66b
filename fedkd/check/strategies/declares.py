"""The plug-in can be made, and says what it exchanges."""

from math import prod

import torch

from .subject import SAMPLES, Subject


def constructs(subject: Subject) -> str:
    """Make one."""
    return type(subject.usual()).__name__


def exchanges(subject: Subject) -> str:
    """Prepare a run with it: its exchange is found, and no model is refused."""
    strategy = subject.make()
    setting = subject.setting
    if strategy.exchange is None:
        return "nothing"
    expected = setting.expect(0, 1, torch.arange(SAMPLES))
    more = [
        "masked" * expected.masked,
        "scored" * expected.scored,
        *(f"{name} {list(shape)}" for name, shape in expected.extras.items()),
    ]
    told = [f"{expected.kind} {list(expected.shape)}", *filter(None, more)]
    size = prod(expected.shape) + sum(map(prod, expected.extras.values()))
    return f"{', '.join(told)}: {4 * size} bytes a client for {SAMPLES} samples"
