"""Clients are alike, few or many, here today and gone tomorrow."""

import torch
from torch import Tensor

from ...engine.base import InlineBlocks
from ...strategies.fusing import fuse_in_blocks
from ..promises import Broken, Skipped
from .stacks import permuted
from .subject import Subject, fused

ORDER = (3, 0, 6, 1, 5, 2, 4)


def permutation(subject: Subject) -> str:
    """Let seven clients change places."""
    _interchangeable(subject)
    strategy = subject.fusion()
    stack, order = subject.stack(strategy, range(7)), torch.tensor(ORDER)
    teacher, again = fused(strategy, stack), subject.fusion()
    subject.stack(again, range(7))
    moved = fused(again, permuted(stack, order))
    shared = teacher.dim() == stack.values.dim() - 1
    off = _apart(teacher if shared else teacher[order], moved)
    if off > 1e-5:
        what = "the shared teacher changes" if shared else "teachers do not move along"
        raise Broken(f"{what} when clients change places, by {off:.3g}")
    return "one teacher, which stays" if shared else "their teachers move along"


def single(subject: Subject) -> str:
    """Fuse the knowledge of one client."""
    strategy = subject.fusion()
    stack = subject.stack(strategy, [0])
    teacher, _ = fuse_in_blocks(strategy, stack, InlineBlocks())
    off = _apart(teacher.values.view_as(stack.values), stack.values)
    return "its own knowledge back" if off < 1e-5 else f"off its own knowledge by {off:.2g}"


def absent(subject: Subject) -> str:
    """Have seven clients in a round and two in the next; then the same, renumbered.

    What a strategy keeps by row instead of by client comes out differently.
    """
    _interchangeable(subject)
    lessons = []
    for rename in (lambda client: client, lambda client: 6 - client):
        strategy = subject.fusion()
        subject.taught(strategy, {client: rename(client) for client in range(7)}, 1)
        few = sorted(rename(client) for client in (1, 4))
        got = subject.taught(strategy, {client: rename(client) + 7 for client in few}, 2)
        if not set(got) <= set(few):
            raise Broken(f"clients {few} took part, and {sorted(got)} are taught")
        lessons.append({rename(client): lesson for client, lesson in got.items()})
    first, second = lessons
    for client in first:
        if client not in second or first[client].shape != second[client].shape:
            raise Broken(f"client {client} is taught otherwise under another number")
        if (off := _apart(first[client], second[client])) > 1e-3:
            raise Broken(f"client {client} is taught otherwise under another number, by {off:.3g}")
    return "clients 0 to 6, then 1 and 4"


def _interchangeable(subject: Subject) -> None:
    """Skip where clients differ by more than what they send."""
    kinds = {id(model) for model in subject.setting.server.instances}
    if subject.make().mixed and len(kinds) > 1:
        raise Skipped("clients differ by their architecture; with one model= they would not")


def _apart(a: Tensor, b: Tensor) -> float:
    """Return the largest difference, where values are large as a share of the largest."""
    if a.shape != b.shape:
        raise Broken(f"shapes differ: {list(a.shape)} and {list(b.shape)}")
    if not a.numel():
        return 0.0
    largest = max(1.0, a.abs().max().item())
    return (a - b).abs().max().item() / largest
