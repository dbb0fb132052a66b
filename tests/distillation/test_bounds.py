"""What objectives are made with: bounds, weights of which one counts, and batches that teach."""

from typing import Any

import pytest
import torch
from support import TINY

from fedkd import ConfigError, simulate
from fedkd.distillation import Batch, Objective, Target
from fedkd.distillation.base import LEAST, MOST
from fedkd.distillation.cross_correlation import CrossCorrelation
from fedkd.distillation.dist import DIST
from fedkd.distillation.dkd import DKD
from fedkd.distillation.mlkd import MLKD
from fedkd.distillation.nd import ND
from fedkd.distillation.rkd import RKD
from fedkd.distillation.sinkd import SinKD
from fedkd.distillation.trg import TRG
from fedkd.plugins.documented import entries
from fedkd.plugins.table import SEAMS

SHIPPED = SEAMS["objectives"].shipped()
IDLE: list[tuple[type[Objective], tuple[str, ...]]] = [
    (DIST, ("beta", "gamma")),
    (DKD, ("alpha", "beta")),
    (MLKD, ("weight",)),
    (ND, ("weight", "kl")),
    (RKD, ("distance", "angle", "kl")),
    (SinKD, ("weight", "kl")),
    (TRG, ("weight", "kl")),
]


@pytest.mark.parametrize(("cls", "weights"), IDLE)
def test_weights_that_are_all_0_are_refused_by_name(
    cls: type[Objective], weights: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=rf"^{weights[-1]}=0 must be above 0.*nothing would"):
        cls(**dict.fromkeys(weights, 0.0))
    for name in weights:
        cls(**dict.fromkeys(weights, 0.0) | {name: 1.0})


def test_a_run_says_so_in_one_line() -> None:
    node = {"name": "rkd", "kl": 0, "distance": 0, "angle": 0}
    told = r"^objective.kl=0.*: must be above 0 where distance and angle are 0, too: nothing would"
    with pytest.raises(ConfigError, match=told):
        simulate("fedmd", objective=node, **TINY)


def steepest(objective: Objective, rows: int, kind: str) -> float:
    """Return the largest gradient of a batch."""
    logits, values = (
        torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)
    )
    teacher = Target(values if kind == "logits" else values.softmax(-1), kind)
    batch = Batch(
        torch.zeros(rows, 1), torch.arange(rows), features={"head": 2 * logits}, memory={}
    )
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(logits, teacher, batch), logits)
    return gradient.abs().max().item()


COUPLED: list[tuple[type[Objective], dict[str, float]]] = [
    *((cls, {}) for cls in (CrossCorrelation, DIST, MLKD, ND, RKD, TRG)),
    *((DIST, {name: 0.0}) for name in ("beta", "gamma")),
    (SinKD, {"kl": 0.0, "weight": 1.0}),
    *((RKD, {"kl": 0.0, **more}) for more in ({}, {"angle": 0.0}, {"distance": 0.0})),
    *((TRG, {name: 0.0}) for name in ("kl", "weight")),
]


@pytest.mark.parametrize(("cls", "weights"), COUPLED)
@pytest.mark.parametrize("kind", ["logits", "soft_labels"])
def test_the_fewest_samples_teach_and_fewer_do_not(
    cls: type[Objective], weights: dict[str, float], kind: str
) -> None:
    objective = cls(**weights)
    assert steepest(objective, objective.fewest, kind) > 1e-3
    if objective.fewest > 1:
        assert steepest(objective, objective.fewest - 1, kind) < 1e-3


@pytest.mark.parametrize("key", ["distil.batch_size", "transfer.size"])
def test_a_run_of_batches_from_which_nothing_is_learnt_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}=1: .* give it at least 3"):
        simulate("fedmd", objective={"name": "dist", "beta": 0}, **TINY | {key: 1})


@pytest.mark.parametrize("temperature", [1e30, 1e-30, 0.0, float("inf")])
def test_a_temperature_that_float32_cannot_take_is_refused(temperature: float) -> None:
    for name, cls in SHIPPED.items():
        with pytest.raises(ValueError, match=r"^temperature=.* must be in \[0.001, 10000\]"):
            cls(temperature=temperature)
        assert cls(temperature=MOST).temperature == MOST, name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (name, entry.key)
        for name, cls in SHIPPED.items()
        for entry in entries(cls, SEAMS["objectives"].from_run)
        if entry.type == "float"
    ],
)
@pytest.mark.parametrize("value", [1e30, LEAST, MOST])
def test_numbers_are_refused_or_have_a_loss(name: str, key: str, value: float) -> None:
    """Whatever its size: none is taken of which float32 makes no number."""
    own: dict[str, Any] = {"labels": "teacher"} if name in ("dkd", "nkd", "ofa", "tgeo") else {}
    try:
        objective = SHIPPED[name](**own, **{key: value})
    except ValueError:
        return
    for kind in ("logits", "soft_labels"):
        if kind in (objective.kinds or (kind,)):
            assert steepest(objective, 5, kind) < float("inf")


@pytest.mark.parametrize("ends", [(4, 1e30), (1e30, 4)])
def test_so_is_a_schedule_with_such_an_end(ends: tuple[float, float]) -> None:
    schedule = {"name": "linear", "start": ends[0], "end": ends[1]}
    more = {"objective": "kl", "distil.temperature": schedule, "rounds": 3}
    told = r"^(distil|objective)\.temperature=.* must be in \[0.001, 10000\]"
    with pytest.raises(ConfigError, match=told):
        simulate("fedmd", **TINY | more)
