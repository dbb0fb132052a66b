"""What `fedkd check` holds an exchange to."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..clients.exchange import Exchange
from ..config.overrides import compose, merge
from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..models import check_model
from ..plugins.table import SEAMS, Seam
from ..rounds.protocol import Strategy
from ..strategies.base import FusionStrategy
from ..strategies.classwise import ClassFusion
from ..strategies.parametric import ParameterFusion
from ..tasks.regression import Regression
from .common import IN_RUNS, MADE
from .plugged import ACTIVE, CLASSES, TASKS, Plugged, tiny
from .promises import Broken, Promise, expect

__all__ = ["SUITE", "subject"]

BASES: dict[str, type[FusionStrategy]] = {
    "class_knowledge": ClassFusion,
    "parameters": ParameterFusion,
}
"""What fuses other kinds of knowledge than those on transfer samples."""


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Plugged:
    """Return an exchange that is to be checked, in runs of a strategy that has it."""
    strategy = user_of(target, seam.resolve(target))
    config = compose(overrides)
    if "strategy" not in "".join(overrides) and target.startswith("kcfu"):
        config = merge(config, **ACTIVE)
    settings = tiny(overrides) | TASKS.get(seam.resolve(target).kind, {})
    if strategy().needs_labels:
        settings["transfer.labelled"] = True
    if (least := strategy().least_epochs) > settings.get("fit.epochs", config.fit.epochs):
        settings["fit.epochs"] = least
    node = {"name": target}
    return Plugged(seam, target, node, merge(config, **settings), strategy=strategy, **options)


def user_of(target: str, cls: type[Exchange]) -> Callable[[], Strategy]:
    """Return what makes a strategy with this exchange: a shipped one, or the mean of its kind."""
    for found in SEAMS["strategies"].shipped().values():
        node = found().exchange_node()
        if node is not None and node["name"] == target:
            return found
    base = BASES.get(cls.kind, FusionStrategy)
    mean: dict[str, Any] = {} if base is ParameterFusion else {"fuse": _mean}
    if cls.kind in NUMBERS:
        mean |= {"kinds": NUMBERS, "objective": Regression.objectives[cls.kind]}
    return type("Mean", (base,), {"exchange": target, "sums_only": True, **mean})


def _mean(self: FusionStrategy, knowledge: KnowledgeStack) -> Tensor:
    return knowledge.mean()


def declares(subject: Plugged) -> str:
    """Ask what the server is to expect of a client."""
    exchange: Exchange = subject.make()
    exchange.input_shape = (64,)
    model, ids = check_model("mlp", (64,), CLASSES), torch.arange(40)
    if (reason := exchange.refusal({"mlp": model})) is not None:
        return f"it refuses mlp: {reason}"
    expected = exchange.expected(0, 1, ids, CLASSES, model)
    if expected.kind in CLASS_SCORES:
        rows = (len(ids), CLASSES)
        expect(expected.shape == rows, f"{expected.kind} have shape {list(expected.shape)}")
    expect(all(size > 0 for size in expected.shape), f"its shape is {list(expected.shape)}")
    more = ["masked"] * expected.masked + ["scored"] * expected.scored
    return ", ".join([f"{expected.kind} {list(expected.shape)}", *more, *expected.extras])


def admitted(subject: Plugged) -> str:
    """Make a run, and see whether the server can use what clients upload."""
    result = subject.run(rounds=2)
    if count := result.summary["rejected"]:
        raise Broken(f"the server rejected {count} replies: they are not what it declares")
    return f"{result.summary['bytes_up']} bytes up, {result.summary['bytes_down']} down"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("declares", "says what clients upload", declares),
    Promise("admitted", "uploads what it declares", admitted),
    *IN_RUNS,
)
"""The promises of an exchange."""
