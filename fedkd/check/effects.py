"""Whoever sets a parameter of an objective changes something, or is told why not."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..config.hints import signature
from ..distillation import Target
from ..errors import ConfigError
from ..models.features import HEAD
from ..rng import torch_generator
from .phases import ROWS, WIDTH, Phase, firsts, student
from .plugged import CLASSES, Plugged
from .promises import Skipped, expect, same
from .strategies.parameters import UNTRIED, UNUSED, candidates


def effective(subject: Plugged) -> str:
    """Change one parameter after the other, with teachers of each kind, at a temperature of 2."""
    kinds, found = firsts(subject), dict[str, list[str]]()
    before = {kind: course(subject, teacher) for kind, teacher in kinds.items()}
    made = subject.make()
    idle = {kind: made.unused(kind) for kind in kinds}
    for name, parameter in signature(type(made)).items():
        if name == "temperature":  # has a promise of its own
            continue
        tried, changed = [], False
        for value in candidates(parameter.annotation, subject.node.get(name, parameter.default)):
            if (after := otherwise(subject, kinds, {name: value})) is None:
                continue
            tried.append(str(value))
            changed |= any(not same(after[kind], before[kind]) for kind in kinds)
            for kind in kinds:
                said = f"{name} matters with teachers of {kind}, whatever is said by unused()"
                expect(name not in idle[kind] or near(after[kind], before[kind]), said)
        excused = changed or all(name in one for one in idle.values())
        told = f"{name} changes nothing (tried {', '.join(tried)})"
        expect(excused or not tried, f"{told}: use it, or say in unused() why not")
        useless = all(name in one for one in idle.values())
        what = UNUSED if useless else "changing" if changed else UNTRIED
        found.setdefault(what, []).append(name)
    if not found:
        raise Skipped("it has no parameters")
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items())


def otherwise(
    subject: Plugged, kinds: dict[str, Target], parameters: dict[str, Any]
) -> dict[str, Tensor] | None:
    """Return what other parameters come to; None if they are refused."""
    try:
        return {kind: course(subject, teacher, **parameters) for kind, teacher in kinds.items()}
    except ConfigError:
        return None


def near(one: Tensor, other: Tensor) -> bool:
    """Tell whether two courses are alike but for rounding."""
    return one.shape == other.shape and torch.allclose(one, other, 1e-4, 1e-5, equal_nan=True)


def course(subject: Plugged, teacher: Target, **parameters: Any) -> Tensor:
    """Return losses of two phases, and their gradients by logits and features.

    Features are others in every batch, and logits have a gradient by those of the head.
    """
    objective = subject.make(**{"temperature": 2.0} | parameters)
    memory, found = dict[str, Tensor](), list[Tensor]()
    head = torch.randn(WIDTH, CLASSES, generator=torch_generator(8))
    for seeds in (range(4), range(4, 8)):
        phase = Phase(copy.deepcopy(objective), memory)
        for fraction, seed in zip((0.0, 0.0, 1.0, 1.0), seeds, strict=True):
            phase.objective.progress(fraction)
            batch, top = phase.batch(torch.arange(ROWS)), torch_generator(10 + seed)
            given = dict(batch.features or {})
            features = {name: (1 + seed) * one.detach() for name, one in given.items()}
            features[HEAD] = torch.randn(ROWS, WIDTH, generator=top)
            seen = [one.requires_grad_() for one in (student(seed).detach(), *features.values())]
            logits = seen[0] + features[HEAD] @ head - (features[HEAD] @ head).detach()
            shown = {name: features[name] for name in given}
            loss = phase.objective(logits, teacher, replace(batch, features=shown or None))
            slopes = torch.autograd.grad(loss, seen, allow_unused=True)
            found += [loss.detach(), *(one for one in slopes if one is not None and one.any())]
    return torch.cat([one.flatten() for one in found])
