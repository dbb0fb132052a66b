"""What `fedkd check` holds a privacy mechanism to."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ..clients.privacy import Facts
from ..knowledge import CLASS_SCORES
from ..plugins import parameters
from ..plugins.table import Seam
from ..privacy.accounting import guarantee
from ..privacy.budget import Budget
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged, plugged
from .promises import Promise, Skipped, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]

FIT = {"epochs": 1, "batch_size": 10}
FACTS = Facts(samples=100, transfer=20, fit=FIT, trained=100)


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Plugged:
    """Return a mechanism that is to be checked; keys of the run's budget are not its own."""
    made = plugged(seam, target, overrides, **options)
    known = parameters(seam.resolve(target))
    own = {k: v for k, v in made.node.items() if k in known or k not in parameters(Budget)}
    return replace(made, node=own)


def releases(subject: Plugged) -> str:
    """Have it release knowledge, twice and with other global random numbers."""
    kinds = [kind for kind in subject.make().kinds or () if kind in CLASS_SCORES]
    if not kinds:
        raise Skipped("it does not change what is uploaded")
    clip = {"clip": 1.0} if "clip" in parameters(subject.seam.resolve(subject.name)) else {}
    for kind in kinds:
        noise = torch.randn(40, CLASSES, generator=torch_generator(1))
        values, found = noise.softmax(dim=-1) if kind == "soft_labels" else 3 * noise, []
        for seed in (1, 2):
            mechanism = subject.make(**clip)
            with aside("release()", seed), untouched("release()", values=values):
                found.append(mechanism.release(values, kind, torch_generator(7)))
        expect(same(*found), f"releases {kind} in two ways from one random stream")
        got = found[0]
        expect(got.shape == values.shape, f"releases {kind} as {list(got.shape)}")
        expect(got.isfinite().all(), f"releases {kind} that are not finite")
        off = (got.sum(dim=-1) - 1).abs().max().item()
        valid = kind != "soft_labels" or (off < 1e-3 and bool((got >= 0).all()))
        expect(valid, "releases soft labels off the simplex, which no server admits")
    return " and ".join(kinds)


def spends(subject: Plugged) -> str:
    """Ask what a client spends, in one round and in ten."""
    mechanism = subject.make()
    spent = mechanism.cost(FACTS, 1.0)
    if not mechanism.protects:
        expect(not spent, "spends, and says of no data that it protects them (protects)")
        return "no guarantee, and nothing spent"
    expect(spent, f"protects {mechanism.protects}, and spends nothing")
    one, ten = (
        guarantee({event: rounds * count for event, count in spent.items()}, 1e-3, "rdp")[0]
        for rounds in (1, 10)
    )
    expect(
        math.isfinite(one) and 0 < one <= ten,
        f"epsilon is {one:.3g} for a round, {ten:.3g} for ten",
    )
    return f"epsilon {one:.3g} for a round, {ten:.3g} for ten"


def told(subject: Plugged) -> str:
    """Look into the summary of a run."""
    found = subject.run(rounds=2).summary["privacy"]
    formal = bool(subject.make().protects)
    expect(formal == (found["epsilon"] is not None), f"the summary's epsilon is {found['epsilon']}")
    return f"{found['mechanism']}, epsilon {found['epsilon'] or 'none'}"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("releases", "releases knowledge, by the run's random streams alone", releases),
    Promise("spends", "says what it costs", spends),
    Promise("told", "is accounted for in a run's summary", told),
    *IN_RUNS,
)
"""The promises of a privacy mechanism."""
