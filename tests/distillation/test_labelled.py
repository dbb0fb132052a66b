"""Objectives that learn from a label beside the teacher: by hand, limits, and safety."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedkd.distillation import Batch, Objective, Target
from fedkd.distillation.dkd import DKD
from fedkd.distillation.kl import KL
from fedkd.distillation.nkd import NKD
from fedkd.distillation.ofa import OFA

P, Q = torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([[0.3, 0.3, 0.4]])
ALL = [DKD, NKD, OFA]
seeds = st.integers(0, 10_000)


def logits(seed: int, rows: int = 5, classes: int = 4) -> Tensor:
    return 2 * torch.randn(
        rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def told(y: Tensor) -> Batch:
    return Batch(torch.zeros(len(y), 1), torch.arange(len(y)), y)


def at(objective: Objective, y: int = 0) -> float:
    return float(objective(Q.log(), Target(P), told(torch.tensor([y]))))


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (DKD(beta=8.0), 1.896380),
        (DKD(beta=0.0), 0.192042),
        (DKD(alpha=0.0, beta=1.0), 0.213042),
        (NKD(), 1.885450),
        (NKD(gamma=0.0), 0.722384),
        (OFA(gamma=1.0), 1.175205),
        (OFA(gamma=1.5), 1.459505),
        (OFA(gamma=2.0), 1.995718),
    ],
)
def test_by_hand(objective: Objective, value: float) -> None:
    assert at(objective) == pytest.approx(value, abs=1e-5)


def test_another_label_by_hand() -> None:
    """y = 2: b = (.1, .9) against (.4, .6), and (2/3, 1/3) against (1/2, 1/2) among the rest."""
    either = 0.1 * math.log(0.1 / 0.4) + 0.9 * math.log(0.9 / 0.6)
    among = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    assert at(DKD(beta=8.0), 2) == pytest.approx(either + 8 * among, abs=1e-5)
    cross = -(2 / 3 + 1 / 3) * math.log(0.5)
    assert at(NKD(), 2) == pytest.approx(-0.1 * math.log(0.4) + 1.5 * cross, abs=1e-5)
    weights = 0.6**1.5, 0.3**1.5, 1.1**1.5 - 1
    by_hand = -sum(w * math.log(q) for w, q in zip(weights, (0.3, 0.3, 0.4), strict=True))
    assert at(OFA(), 2) == pytest.approx(by_hand, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, temperature=st.floats(0.5, 8))
def test_decoupled_and_coupled_again_it_is_kl(seed: int, temperature: float) -> None:
    z, teacher, y = logits(seed, 1), Target(logits(seed + 1, 1), "logits"), torch.tensor([seed % 4])
    rest = 1 - teacher.probabilities(temperature)[0, seed % 4].item()
    loss = DKD(beta=rest, temperature=temperature)(z, teacher, told(y))
    torch.testing.assert_close(loss, KL(temperature=temperature)(z, teacher))


def test_ofa_of_gamma_one_has_the_gradient_of_kl() -> None:
    z, teacher, y = logits(1).requires_grad_(), Target(logits(2), "logits"), torch.arange(5) % 4
    losses = OFA(gamma=1.0)(z, teacher, told(y)), KL()(z, teacher)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in losses))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("kind", ["soft_labels", "logits"])
def test_the_gradient_is_that_of_finite_differences(make: Any, kind: str) -> None:
    z = logits(1).requires_grad_()
    values = logits(2) if kind == "logits" else logits(2).softmax(-1)
    objective, teacher, batch = (
        make(temperature=1.5),
        Target(values, kind),
        told(torch.arange(5) % 4),
    )
    assert torch.autograd.gradcheck(lambda student: objective(student, teacher, batch), (z,))


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_dkd_has_nothing_to_teach_at_the_teacher(seed: int) -> None:
    z, batch = logits(seed).requires_grad_(), told(torch.arange(5) % 4)
    loss = DKD()(z, Target(z.detach(), "logits"), batch)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6
    assert DKD()(z, Target(logits(seed + 1), "logits"), batch).item() > 1e-3


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("classes", [2, 5])
def test_safe_at_the_extremes(make: Any, classes: int) -> None:
    sure = torch.eye(classes)
    for y in (torch.arange(classes), torch.arange(classes).flip(0)):
        for teacher in (Target(sure), Target(1e4 * (2 * sure - 1), "logits")):
            z = (1e4 * (2 * sure.flip(0) - 1)).requires_grad_()
            loss = make()(z, teacher, told(y))
            (gradient,) = torch.autograd.grad(loss, z)
            assert loss.isfinite()
            assert gradient.isfinite().all()


@pytest.mark.parametrize("make", ALL)
def test_the_teachers_class_may_stand_for_the_label(make: Any) -> None:
    z, teacher = logits(1), Target(logits(2).softmax(-1))
    assert make().needs_labels
    assert not make(labels="teacher").needs_labels
    guessed = make(labels="teacher")(z, teacher)
    known = make()(z, teacher, told(teacher.values.argmax(dim=1)))
    assert torch.equal(guessed, known)
    with pytest.raises(ValueError, match="labels=transfer needs a batch with labels"):
        make()(z, teacher)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (DKD, {"alpha": -1.0}),
        (DKD, {"beta": math.inf}),
        (NKD, {"gamma": -1.0}),
        (OFA, {"gamma": 0.5}),
    ],
)
def test_wrong_parameters_are_named(make: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
