"""Running a method's pure functions: in blocks, on the pool, and checked."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ..ending import is_interrupt
from ..engine import BlockPool
from ..engine.base import BLOCK
from ..errors import FedkdError, RunError
from ..knowledge import KnowledgeStack, Teacher, kind_named
from ..knowledge.admission import Rejected, check_values
from ..knowledge.lazily import LazySequence
from ..maths import mixing


class Fuses(Protocol):
    """The pure part of a method, all that is asked of it here."""

    per_sample: ClassVar[bool]

    @property
    def mixes(self) -> bool:
        """Whether it has mixing weights in place of a `fuse` of its own."""

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return mixing weights ``[clients, clients]``."""

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher."""

    def covered(self, knowledge: KnowledgeStack, teacher: Tensor) -> Tensor | None:
        """Return which rows of it are one; None = all."""


def fuse_in_blocks(
    strategy: Fuses, knowledge: KnowledgeStack, blocks: BlockPool
) -> tuple[Teacher, Tensor | None]:
    """Return the teacher, and the mixing weights of a method that has them.

    Raises
    ------
    RunError
        If the method returns something that is no teacher: says which strategy, which property and
        which values.
    """
    mixes = strategy.mixes
    kind = kind_named(knowledge.kind)
    sharded = (strategy.per_sample or mixes) and kind.on_samples
    slices = _parts(len(knowledge.sample_ids)) if sharded else []
    views = [knowledge.view(part) for part in slices] or [knowledge]
    weights = None
    fused: Iterator[Tensor]
    try:
        if mixes:
            weights = _checked_weights(strategy, knowledge)
            numbers = LazySequence(views, lambda view: kind.linear(view.values).contiguous())
            mixed = blocks.map(partial(mixing.mix, weights), numbers, light=True)
            fused = map(kind.mixed, mixed)
        elif sharded:
            parts = LazySequence(views, KnowledgeStack.compact)
            fused = blocks.map(strategy.fuse, parts, light=True)
        else:
            fused = map(strategy.fuse, views)
        checked = (_teacher(strategy, *pair) for pair in zip(views, fused, strict=True))
        values, mask = _joined(checked, slices, kind.dims)
    except FedkdError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"strategy {type(strategy).__name__} raised {cause}") from error
    return Teacher(knowledge.kind, values, knowledge.clients, mask, weights), weights


def _joined(
    checked: Iterator[tuple[Tensor, Tensor | None]], slices: list[slice], dims: int
) -> tuple[Tensor, Tensor | None]:
    """Put the blocks of a teacher where they belong, each as it comes."""
    values, mask = next(checked)
    if len(slices) < 2:
        return values.contiguous(), mask
    axis = values.dim() - dims
    whole = values.new_empty(*values.shape[:axis], slices[-1].stop, *values.shape[axis + 1 :])
    masks = []
    for part, (block, covered) in zip(slices, chain([(values, mask)], checked), strict=True):
        if block.shape[:axis] != whole.shape[:axis]:
            raise RunError("fuse() returned a teacher for all of some samples, one each of others")
        whole.narrow(axis, part.start, part.stop - part.start).copy_(block)
        masks += [] if covered is None else [covered]
    return whole, torch.cat(masks) if masks else None


def _parts(samples: int) -> list[slice]:
    """Return the blocks of so many samples; one empty block where a method asked for none."""
    starts = range(0, max(samples, 1), BLOCK)
    return [slice(start, min(start + BLOCK, samples)) for start in starts]


def _checked_weights(strategy: Fuses, knowledge: KnowledgeStack) -> Tensor:
    weights, n = strategy.weights(knowledge), len(knowledge.clients)
    try:
        if not isinstance(weights, Tensor):
            raise Rejected(f"type: got {type(weights).__name__}, expected Tensor")
        weights = weights.detach().float()
        check_values("soft_labels", weights, (n, n))
    except Rejected as reason:
        raise RunError(f"strategy {type(strategy).__name__}: weights() {reason}") from None
    return weights


def _teacher(strategy: Fuses, part: KnowledgeStack, values: object) -> tuple[Tensor, Tensor | None]:
    """Return what `fuse` made of one block, and its mask, if it is a teacher."""
    one, kind = tuple(part.values.shape[1:]), kind_named(part.kind)
    try:
        if not isinstance(values, Tensor):
            raise Rejected(f"type: got {type(values).__name__}, expected Tensor")
        values = values.detach()
        own = values.dim() > len(one)
        if own and not kind.personal:
            raise Rejected(f"made a teacher for each client, and one of {kind} is for all")
        shape = (len(part.clients), *one) if own else one
        if values.is_floating_point() and values.shape == shape:
            values = kind.repaired(values)
        mask = strategy.covered(part, values)
        if mask is None:
            check_values(kind, values, shape)
        else:
            values = _within(values, mask, shape, int(own))
            kept = values[:, mask] if own else values[mask]
            check_values(kind, kept, (*shape[:own], int(mask.sum()), *shape[own + 1 :]))
    except Rejected as reason:
        raise RunError(f"strategy {type(strategy).__name__}: fuse() {reason}") from None
    return values, mask


def _within(values: Tensor, mask: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    """Return values, 0 outside the mask, if their shapes are right."""
    if values.shape != shape:
        raise Rejected(f"shape: got {list(values.shape)}, expected {list(shape)}")
    rows = shape[axis : axis + 1]
    if mask.dtype != torch.bool or mask.shape != rows:
        raise Rejected(f"mask: covered() must be bool of shape {list(rows)}")
    return torch.where(mask.view(*rows, *[1] * len(shape[axis + 1 :])), values, 0.0)
