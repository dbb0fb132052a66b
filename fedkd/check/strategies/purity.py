"""Fusion is a function of its input: any process may compute it, any number of times."""

import copy
import random

import numpy as np
import torch

from ...rng import scoped
from ..promises import Broken, same
from .stacks import tensors
from .subject import Subject, fused


def deterministic(subject: Subject) -> str:
    """Fuse twice, with other global random numbers, and see whether they are used."""
    teachers = []
    for seed in (1, 2):
        strategy = subject.fusion()
        stack = subject.stack(strategy, range(7))
        with scoped(seed):
            before = _generators()
            teachers.append(fused(strategy, stack))
            if _generators() != before:
                raise Broken("fuse() draws from (or seeds) a global random generator")
    off = (teachers[0] - teachers[1]).abs().max().item()
    if not same(*teachers):
        raise Broken(f"the same input gave two teachers, {off:.3g} apart")
    return "the same bits twice"


def pure(subject: Subject) -> str:
    """Fuse twice with one object; see whether input or state have changed."""
    strategy = subject.fusion()
    stack = subject.stack(strategy, range(7))
    given, state = copy.deepcopy(tensors(stack)), copy.deepcopy(strategy.state)
    first = fused(strategy, stack).clone()
    for name, value in tensors(stack).items():
        if not same(value, given[name]):
            raise Broken(f"fuse() changes its input: {name}")
    if (changed := _changed(state, strategy.state)) is not None:
        raise Broken(f"fuse() changes self.state[{changed!r}]; do that in refine()")
    if not same(first, fused(strategy, stack)):
        raise Broken("fuse() remembers something: called again, it returns another teacher")
    return "neither its input nor self.state changes"


def _changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> str | None:
    """Return the first name under which something else is kept now."""
    for name in sorted({*before, *after}):
        if name not in before or name not in after or not same(before[name], after[name]):
            return name
    return None


def _generators() -> tuple[object, ...]:
    """Return the state of every global generator, comparable."""
    _, keys, *rest = np.random.get_state(legacy=True)
    bits = [np.asarray(keys).tobytes(), torch.get_rng_state().numpy().tobytes()]
    return random.getstate(), *bits, *rest
