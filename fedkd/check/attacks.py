"""What `fedkd check` holds a hostile client to."""

import torch

from ..clients.attacks import View
from ..knowledge import CLASS_SCORES
from ..rng import torch_generator
from ..run.result import RunResult
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged
from .plugged import plugged as subject
from .promises import Promise, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]


def view(kind: str) -> View:
    """Return what a hostile client knows."""
    noise = torch.randn(2, 40, CLASSES, generator=torch_generator(1))
    own, teacher = noise.softmax(dim=-1) if kind == "soft_labels" else 3 * noise
    return View(kind, own, teacher, torch_generator(5))


def poisons(subject: Plugged) -> str:
    """Have it reply in place of an honest client."""
    attack = subject.make()
    for kind in attack.kinds or CLASS_SCORES:
        if kind not in CLASS_SCORES:
            continue
        replies = []
        for seed in (1, 2):
            seen = view(kind)
            with aside("poison()", seed), untouched("poison()", own=seen.own, teacher=seen.teacher):
                replies.append(subject.make().poison(seen))
        reply = replies[0]
        expect(same(*replies), "poison() replies in two ways to the same view")
        expect(reply.shape == seen.own.shape, f"poison() returns {list(reply.shape)} for {kind}")
        expect(reply.isfinite().all(), f"poison() returns {kind} that are not finite")
        off = (reply.sum(dim=-1) - 1).abs().max().item()
        valid = kind != "soft_labels" or (off < 1e-4 and bool((reply >= 0).all()))
        expect(valid, "poison() returns soft labels off the simplex, which no server admits")
    return "valid knowledge, the same one twice"


def drawn(subject: Plugged) -> str:
    """Ask who is hostile, for several shares."""
    for fraction in (0.0, 0.4, 1.0):
        one, two = (subject.make(fraction=fraction).hostile for _ in range(2))
        expect(one == two, f"fraction={fraction:g} draws other clients each time")
        expect(len(one) in (0, round(5 * fraction)), f"{len(one)} of 5 for fraction={fraction:g}")
    return "the same clients each time"


def honest(subject: Plugged) -> str:
    """Look at the first fit of everybody else; and at a run in which nobody is hostile."""
    share = {"attack.fraction": 0.4}
    with_it, without = subject.run(rounds=2, **share), subject.run(rounds=2, attack="none")
    hostile = subject.make(fraction=0.4).hostile
    first, other = losses(with_it), losses(without)
    off = [client for client in other if client not in hostile and first[client] != other[client]]
    expect(not off, f"client {off[:1]} is honest, and fits otherwise than without the attack")
    idle = subject.run(rounds=2, **{"attack.fraction": 0.0}).summary["digest"]
    expect(idle == without.summary["digest"], "fraction=0 changes the run")
    acts = with_it.summary["digest"] != without.summary["digest"]
    return f"{len(hostile)} of 5 hostile, {'with' if acts else 'without'} effect"


def losses(result: RunResult) -> dict[int, float]:
    """Return what each client's first fit came to."""
    rows = [row for row in result.clients.to_pylist() if row["metric"] == "loss_fit"]
    return {row["client"]: row["value"] for row in rows if row["round"] == 1}


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("drawn", "has the same hostile clients in every round", drawn),
    Promise("poisons", "replies with knowledge that could be honest", poisons),
    Promise("honest", "leaves honest clients alone", honest),
    *IN_RUNS,
)
"""The promises of an attack."""
