"""Running a method's pure functions: in blocks, on the pool, and checked."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ..codecs.encoding import normalised
from ..engine import BlockPool
from ..engine.base import BLOCK
from ..errors import FedkdError, RunError
from ..exits import is_interrupt
from ..knowledge import ON_SAMPLES, KnowledgeStack, Teacher
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
    sharded = (strategy.per_sample or mixes) and knowledge.kind in ON_SAMPLES
    slices = _parts(len(knowledge.sample_ids)) if sharded else []
    views = [knowledge.view(part) for part in slices] or [knowledge]
    weights = None
    fused: Iterator[Tensor]
    try:
        if mixes:
            weights = _checked_weights(strategy, knowledge)
            numbers = LazySequence(views, lambda view: view.values.contiguous())
            fused = blocks.map(partial(mixing.mix, weights), numbers, light=True)
        elif sharded:
            parts = LazySequence(views, KnowledgeStack.compact)
            fused = blocks.map(strategy.fuse, parts, light=True)
        else:
            fused = map(strategy.fuse, views)
        checked = (_teacher(strategy, *pair) for pair in zip(views, fused, strict=True))
        values, mask = _joined(checked, slices)
    except FedkdError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"strategy {type(strategy).__name__} raised {cause}") from error
    return Teacher(knowledge.kind, values, knowledge.clients, mask, weights), weights


def _joined(
    checked: Iterator[tuple[Tensor, Tensor | None]], slices: list[slice]
) -> tuple[Tensor, Tensor | None]:
    """Put the blocks of a teacher where they belong, each as it comes."""
    values, mask = next(checked)
    if len(slices) < 2:
        return values.contiguous(), mask
    whole = values.new_empty(*values.shape[:-2], slices[-1].stop, values.shape[-1])
    masks = []
    for part, (block, covered) in zip(slices, chain([(values, mask)], checked), strict=True):
        if block.shape[:-2] != whole.shape[:-2]:
            raise RunError("fuse() returned a teacher for all of some samples, one each of others")
        whole[..., part, :] = block
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
    one = tuple(part.values.shape[1:])
    try:
        if not isinstance(values, Tensor):
            raise Rejected(f"type: got {type(values).__name__}, expected Tensor")
        values = values.detach()
        shape = (len(part.clients), *one) if values.dim() > len(one) else one
        if part.kind == "soft_labels" and values.is_floating_point() and values.shape == shape:
            values = normalised(values)
        mask = strategy.covered(part, values)
        if mask is None:
            check_values(part.kind, values, shape)
        else:
            values = _within(values, mask, shape)
            check_values(part.kind, values[..., mask, :], (*shape[:-2], int(mask.sum()), shape[-1]))
    except Rejected as reason:
        raise RunError(f"strategy {type(strategy).__name__}: fuse() {reason}") from None
    return values, mask


def _within(values: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return values, 0 outside the mask, if their shapes are right."""
    if values.shape != shape:
        raise Rejected(f"shape: got {list(values.shape)}, expected {list(shape)}")
    if mask.dtype != torch.bool or mask.shape != shape[-2:-1]:
        raise Rejected(f"mask: covered() must be bool of shape {list(shape[-2:-1])}")
    return torch.where(mask.unsqueeze(-1), values, 0.0)
