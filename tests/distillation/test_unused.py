"""Parameters of objectives that would change nothing: what is said of them is so, and refused."""

from collections.abc import Sequence
from typing import Any

import pytest
from support import TINY

from fedkd import ConfigError, simulate
from fedkd.check.objectives import SUITE, subject
from fedkd.distillation.kl import KL
from fedkd.plugins.table import SEAMS

PROMISES = {one.name: one for one in SUITE}
IDLE: dict[tuple[str, ...], set[str]] = {
    ("amid", "share=0"): {"alpha"},
    ("amid", "share=1", "order=qr"): {"alpha"},
    ("ctkd", "lr=0"): {"phases"},
    ("dhkd", "weight=0"): {"softness", "lr", "align", "smoothing"},
    ("instance_similarity", "weight=0"): {"tau"},
    ("nd", "weight=0"): {"rate", "labels"},
    ("nd", "kl=0"): set(),
    ("nkd", "gamma=0"): set(),
    ("ofa", "stages=0"): {"weight", "lr"},
    ("ofa", "stages=1"): set(),
    ("ofa", "stages=1", "weight=0"): {"stages", "lr"},
    ("rkd", "kl=0"): set(),
    ("rkd", "distance=0", "angle=0"): {"rows"},
    ("sinkd", "weight=0"): {"epsilon", "iterations", "sinkhorn_temperature"},
    ("sinkd", "kl=0"): set(),
    ("taid", "t_start=1"): {"rate", "momentum", "phases"},
    ("taid", "rate=0"): {"momentum"},
    ("tgeo", "ratio=confidence"): {"lr", "step"},
    ("tgeo", "lr=0"): {"step"},
    ("trg", "weight=0"): {"k", "sigma", "rows"},
    ("trg", "kl=0"): set(),
}
"""Objectives with parameters by which others are idle, and which."""


@pytest.mark.parametrize("given", IDLE, ids=" ".join)
def test_what_is_idle_is_said_and_nothing_else(given: tuple[str, ...]) -> None:
    name, *parameters = given
    checked = subject(SEAMS["objectives"], name, [f"objective.{one}" for one in parameters])
    assert checked.make().unused("soft_labels").keys() == IDLE[given]
    for promise in ("effective", "tempers"):
        verdict = PROMISES[promise].judge(checked)
        assert verdict.held, verdict.remark


REFUSED: Sequence[tuple[dict[str, Any], str]] = [
    ({"name": "ofa", "lr": 0.1}, r"objective.lr=0.1: has no effect with objective.stages=0; leave"),
    ({"name": "tgeo", "ratio": "confidence", "step": 0.1}, r"objective.step=0.1: has no effect"),
    ({"name": "lskd", "smoothing": 0.1}, r"it is for soft labels, and teachers are logits; leave"),
    ({"name": "dhkd", "smoothing": 0.1}, r"it is for soft labels, and teachers are logits; leave"),
    ({"name": "rkd", "distance": 0, "angle": 0, "rows": "features"}, r"objective.rows=features: "),
]


@pytest.mark.parametrize(("node", "told"), REFUSED)
def test_a_run_that_sets_an_idle_one_is_refused(node: dict[str, Any], told: str) -> None:
    settings: dict[str, Any] = TINY | {"strategy.exchange": "logits", "transfer.labelled": True}
    with pytest.raises(ConfigError, match=told):
        simulate("fedmd", objective=node, **settings)


def test_more_stages_than_any_model_has_are_refused() -> None:
    settings: dict[str, Any] = TINY | {"transfer.labelled": True}
    told = r"^objective.stages=9: no model has more layers than \d before its last; set it to"
    with pytest.raises(ConfigError, match=told):
        simulate("fedmd", objective={"name": "ofa", "stages": 9}, **settings)
    both = {"model": ["mlp", "lenet5"], "objective": {"name": "ofa", "stages": 4}}
    simulate("fedmd", **settings | both)  # one of them has so many


def test_what_has_its_default_is_not() -> None:
    node = {"name": "ofa", "stages": 0, "lr": 0.05, "weight": 0.02}
    simulate("fedmd", objective=node, **TINY, **{"transfer.labelled": True})


class Strange(KL):
    def unused(self, kind: str) -> Any:
        return {"scale": 1}


class Spare(KL):
    def __init__(self, *, spare: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        self.spare = spare


class Told(Spare):
    def unused(self, kind: str) -> dict[str, str]:
        return {"spare": "is for nothing; leave it out"}


class Lying(KL):
    def unused(self, kind: str) -> dict[str, str]:
        return {"scale": "is for nothing; leave it out"}


def test_answers_that_are_no_reasons_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^objective=Strange: its unused\('soft_labels'\) retur"):
        simulate("fedmd", objective=Strange, **TINY)
    with pytest.raises(ConfigError, match=r"^objective.spare=2.0: is for nothing; leave it out"):
        simulate("fedmd", objective=Told(spare=2.0), **TINY)


@pytest.mark.parametrize(
    ("cls", "held", "told"),
    [
        (Spare, False, "spare changes nothing (tried "),
        (Told, True, "without effect, and refused: spare"),
        (Lying, False, "scale matters with teachers of logits, whatever is said by unused()"),
    ],
)
def test_a_check_finds_what_is_not_said(cls: type[Spare], held: bool, told: str) -> None:
    verdict = PROMISES["effective"].judge(
        subject(SEAMS["objectives"], f"{__name__}:{cls.__name__}")
    )
    assert verdict.held is held
    assert told in verdict.remark
