"""What comes of fusion is a teacher."""

import torch

from ...engine.base import InlineBlocks
from ...knowledge import kind_named
from ...strategies.fusing import fuse_in_blocks
from ..promises import Broken
from .subject import SAMPLES, Subject, fused

CLIENTS, SIZES = (1, 2, 7), (5, 300)


def shapes(subject: Subject) -> str:
    """Fuse for few and many, clients and samples."""
    found = ""
    for clients in CLIENTS:
        for samples in SIZES:
            strategy = subject.fusion()
            stack = subject.stack(strategy, range(clients), samples)
            teacher, one = fused(strategy, stack), tuple(stack.values.shape[1:])
            allowed = (one, (clients, *one))
            if not isinstance(teacher, torch.Tensor):
                raise Broken(f"fuse() returned a {type(teacher).__name__}, not a Tensor")
            if tuple(teacher.shape) not in allowed:
                raise Broken(
                    f"{clients} clients, {samples} samples: got {list(teacher.shape)}, expected "
                    f"{list(allowed[0])} or {list(allowed[1])}"
                )
            found = "one for all" if teacher.dim() == len(one) else "one for each client"
    return found


def values(subject: Subject) -> str:
    """Fuse as a run does, with all of its checks."""
    for clients in CLIENTS:
        strategy = subject.fusion()
        stack = subject.stack(strategy, range(clients), SAMPLES)
        fuse_in_blocks(strategy, stack, InlineBlocks())
    return "on the simplex" if kind_named(stack.kind).simplex else f"finite {stack.kind}"


def per_sample(subject: Subject) -> str:
    """Fuse 300 samples at once, and in blocks of 256 and 44."""
    strategy = subject.fusion()
    stack = subject.stack(strategy, range(7), SIZES[-1])
    if not strategy.per_sample or not kind_named(stack.kind).on_samples:
        return "not claimed, so it sees all samples at once"
    whole = fused(strategy, stack)
    samples, axis = len(stack.sample_ids), -kind_named(stack.kind).dims
    parts = [slice(start, start + 256) for start in range(0, samples, 256)]
    joined = torch.cat([fused(strategy, stack.block(part)) for part in parts], dim=axis)
    apart = (whole - joined).abs()
    if apart.max() > 1e-6:
        row = int(apart.movedim(axis, -1).reshape(-1, samples).amax(dim=0).argmax())
        raise Broken(f"sample {row} differs by {apart.max():.3g} when fused in blocks of 256")
    return "bit for bit" if torch.equal(whole, joined) else f"up to {apart.max():.1g}"
