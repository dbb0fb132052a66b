"""Divergences of single samples: values worked out by hand, limits, and what holds for all."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedkd.distillation import Objective, Target
from fedkd.distillation.alpha_beta import AlphaBeta
from fedkd.distillation.amid import AMiD
from fedkd.distillation.bd_kd import BDKD
from fedkd.distillation.divergences import Divergence
from fedkd.distillation.jeffreys import Jeffreys
from fedkd.distillation.js import JS
from fedkd.distillation.kl import KL
from fedkd.distillation.lskd import LSKD
from fedkd.distillation.reverse_kl import ReverseKL
from fedkd.distillation.skewed_kl import SkewedKL
from fedkd.distillation.topkld import TopKLD

P, Q = torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([[0.3, 0.3, 0.4]])
SURE, SURER = torch.tensor([[0.1, 0.1, 0.8]]), torch.tensor([[0.2, 0.2, 0.6]])
"""Teachers and students by probabilities."""

ALL: list[tuple[type[Objective], dict[str, Any]]] = [
    (JS, {}),
    (JS, {"share": 0.1}),
    (Jeffreys, {}),
    (SkewedKL, {}),
    (SkewedKL, {"direction": "reverse"}),
    (AlphaBeta, {}),
    (AlphaBeta, {"alpha": 0.2, "beta": 0.7}),
    (AlphaBeta, {"alpha": 1.2, "beta": -0.5}),
    (AlphaBeta, {"alpha": 0.0, "beta": 0.0}),
    (AlphaBeta, {"alpha": 0.5, "beta": -0.5}),
    (AMiD, {}),
    (AMiD, {"order": "rq", "alpha": -1.0}),
    (BDKD, {}),
    (LSKD, {}),
    (TopKLD, {"k": 2}),
]
seeds = st.integers(0, 10_000)


def logits(seed: int, rows: int = 5, classes: int = 4) -> Tensor:
    return 2 * torch.randn(
        rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def at(objective: Objective, p: Tensor = P, q: Tensor = Q) -> float:
    """Return the loss of a student and a teacher of these probabilities."""
    return float(objective(q.log(), Target(p)))


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (Jeffreys(), 0.9 * math.log(2)),
        (JS(), 0.073671),
        (JS(share=0.1), 0.029787),
        (JS(share=0.9), 0.025119),
        (SkewedKL(), 0.227869),
        (SkewedKL(direction="reverse"), 0.257016),
        (AlphaBeta(), 0.254166),
        (AlphaBeta(alpha=0.2, beta=0.7), 0.367974),
        (AlphaBeta(alpha=0.5, beta=0.5), 0.302944),
        (AlphaBeta(alpha=1.0, beta=1.0), 0.09),
        (AlphaBeta(alpha=0.5, beta=0.0), 0.554464),
        (AlphaBeta(alpha=0.0, beta=0.5), 0.636820),
        (AlphaBeta(alpha=0.5, beta=-0.5), 1.043149),
        (AlphaBeta(alpha=0.0, beta=0.0), 0.5 * (math.log(2) ** 2 + math.log(4) ** 2)),
        (AMiD(), 0.085646),
        (AMiD(alpha=-1.0, power_alpha=1.0, power_beta=0.0), 0.080980),
        (AMiD(alpha=1.0, power_alpha=1.0, power_beta=0.0), 0.059872),
        (BDKD(), 0.4 * math.log(2) + 2 * 0.5 * math.log(2)),
        (BDKD(gamma=3.0), 1.316980),
        (LSKD(smoothing=0.0, temperature=2.0), 1.177276),
        (TopKLD(k=1), 0.192042),
        (TopKLD(k=2), 0.4 * math.log(2)),
    ],
)
def test_by_hand(objective: Objective, value: float) -> None:
    assert at(objective) == pytest.approx(value, abs=1e-5)


def test_bd_kd_covers_what_a_surer_student_leaves_out() -> None:
    """Roles exchanged, it is the student that is surer: the forward part weighs more."""
    assert at(BDKD(), SURE, SURER) == pytest.approx(0.300815, abs=1e-5)
    forward, reverse = at(KL(), Q, P), at(ReverseKL(), Q, P)
    assert at(BDKD(gamma=2.0), Q, P) == pytest.approx(2 * forward + reverse, abs=1e-6)


def test_amid_mixes_on_the_way_that_alpha_says() -> None:
    for alpha, by_hand in {
        -1.0: [0.45, 0.3, 0.25],
        1.0: [0.459029, 0.324583, 0.216388],
        0.5: [0.456711, 0.318137, 0.225152],
    }.items():
        mixed = AMiD(alpha=alpha).mixed(P.log(), Q.log()).exp()
        torch.testing.assert_close(mixed, torch.tensor([by_hand]), rtol=0, atol=2e-6)
    near, limit = (AMiD(alpha=a).mixed(P.log(), Q.log()) for a in (0.99, 1.0))
    torch.testing.assert_close(near, limit, rtol=0, atol=1e-3)


def test_lskd_by_hand_from_logits() -> None:
    z, teacher = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[2.0, 1.0, 0.0]])
    loss = LSKD(temperature=2.0)
    assert float(loss(z, Target(teacher, "logits"))) == pytest.approx(1.280626, abs=1e-5)
    torch.testing.assert_close(
        LSKD(eps=1e-9).standardised(P.log()), torch.tensor([[0.916777, 0.149592, -1.066369]])
    )


@settings(max_examples=20, deadline=None)
@given(seed=seeds, scale=st.floats(0.1, 9), shift=st.floats(-5, 5))
def test_lskd_is_blind_to_the_scale_of_logits(seed: int, scale: float, shift: float) -> None:
    z, teacher = logits(seed), logits(seed + 1)
    one = LSKD()(z, Target(teacher, "logits"))
    other = LSKD()(scale * z + shift, Target(teacher / scale, "logits"))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_smoothing_is_a_share_of_the_uniform_distribution_in_soft_labels_alone() -> None:
    zero = torch.tensor([[0.71, 0.29, 0.0]])
    smoothed = at(LSKD(smoothing=0.1), zero)
    assert smoothed == pytest.approx(at(LSKD(smoothing=0.0), 0.9 * zero + 0.1 / 3), abs=1e-5)
    assert abs(smoothed - at(LSKD(smoothing=0.0), zero)) > 0.01
    raw = Target(torch.tensor([[40.0, 0.0, -40.0]]), "logits")
    losses = [LSKD(smoothing=smoothing)(Q.log(), raw) for smoothing in (0.1, 0.0)]
    assert torch.equal(*losses)


LIMITS: dict[str, tuple[Objective, Objective, float]] = {
    "skewed KL at 0": (SkewedKL(skew=0.0), KL(), 1),
    "its reverse": (SkewedKL(skew=0.0, direction="reverse"), ReverseKL(), 1),
    "JS, the student's share gone": (JS(share=0.001), ReverseKL(), 1000),
    "JS, the teacher's share gone": (JS(share=0.999), KL(), 1000),
    "alpha-beta (1, 0)": (AlphaBeta(alpha=1.0, beta=0.0), KL(), 1),
    "alpha-beta (0, 1)": (AlphaBeta(alpha=0.0, beta=1.0), ReverseKL(), 1),
    "top classes, all but one": (TopKLD(k=3), KL(), 1),
    "top classes, more than there are": (TopKLD(k=9), KL(), 1),
    "BD-KD of weight 1": (BDKD(gamma=1.0), Jeffreys(), 1),
    "AMiD of the student": (
        AMiD(share=0.0, power_alpha=0.8, power_beta=0.3),
        AlphaBeta(alpha=0.8, beta=0.3),
        1,
    ),
    "AMiD on skewed KL's way": (
        AMiD(alpha=-1.0, share=0.1, power_alpha=1.0, power_beta=0.0),
        SkewedKL(),
        1,
    ),
}


@pytest.mark.parametrize("case", LIMITS)
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_limits(case: str, seed: int) -> None:
    one, other, factor = LIMITS[case]
    z, teacher = logits(seed).clamp(-3, 3), Target(logits(seed + 1).clamp(-3, 3).softmax(-1))
    rough = 0.05 if factor > 1 else 1e-6
    torch.testing.assert_close(factor * one(z, teacher), other(z, teacher), rtol=rough, atol=1e-6)


@pytest.mark.parametrize(
    ("near", "limit"),
    [((0.8, 0.01), (0.8, 0.0)), ((0.01, 0.8), (0.0, 0.8)), ((0.5, -0.49), (0.5, -0.5))],
)
def test_alpha_beta_is_continuous(near: tuple[float, float], limit: tuple[float, float]) -> None:
    one, other = (AlphaBeta(alpha=a, beta=b) for a, b in (near, limit))
    assert at(one) == pytest.approx(at(other), rel=0.03)


@pytest.mark.parametrize(("make", "parameters"), ALL)
@pytest.mark.parametrize("kind", ["soft_labels", "logits"])
def test_the_gradient_is_that_of_finite_differences(
    make: type[Objective], parameters: dict[str, Any], kind: str
) -> None:
    z = logits(1).requires_grad_()
    values = logits(2) if kind == "logits" else logits(2).softmax(-1)
    objective, teacher = make(**parameters, temperature=1.5), Target(values, kind)
    assert torch.autograd.gradcheck(lambda student: objective(student, teacher), (z,))


@pytest.mark.parametrize(("make", "parameters"), ALL)
@settings(max_examples=15, deadline=None)
@given(seed=seeds, temperature=st.floats(0.5, 8))
def test_nothing_is_left_to_learn_at_the_teacher(
    make: type[Objective], parameters: dict[str, Any], seed: int, temperature: float
) -> None:
    objective, z = make(**parameters, temperature=temperature), logits(seed).requires_grad_()
    loss = objective(z, Target(z.detach(), "logits"))
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert gradient.abs().max() < 1e-5
    elsewhere = objective(z, Target(logits(seed + 1), "logits"))
    assert elsewhere.item() > 1e-6


@settings(max_examples=30, deadline=None)
@given(seed=seeds, scale=st.floats(0.1, 1000))
def test_js_and_skewed_kl_are_bounded(seed: int, scale: float) -> None:
    z, teacher = scale * logits(seed), Target(scale * logits(seed + 1), "logits")
    assert float(JS()(z, teacher)) <= math.log(2) + 1e-9
    for direction in ("forward", "reverse"):
        loss = SkewedKL(skew=0.1, direction=direction)  # type: ignore[arg-type]
        assert float(loss(z, teacher)) <= math.log(10) + 1e-9


def test_the_scale_is_the_squared_temperature() -> None:
    for make in (JS, Jeffreys, SkewedKL, AlphaBeta, AMiD, BDKD):
        assert issubclass(make, Divergence)
        scaled, plain = make(temperature=3.0), make(temperature=3.0, scale=False)
        assert at(scaled) == pytest.approx(9 * at(plain))


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (JS, {"share": 0.0}),
        (Jeffreys, {"eps": 1.0}),
        (SkewedKL, {"skew": 1.0}),
        (AlphaBeta, {"alpha": 3.0}),
        (AlphaBeta, {"beta": 1e-3}),
        (AlphaBeta, {"beta": -0.795}),
        (AMiD, {"alpha": 1.5}),
        (AMiD, {"alpha": 0.995}),
        (AMiD, {"share": 1.0}),
        (AMiD, {"share": 0.0, "order": "qr"}),
        (AMiD, {"power_beta": 0.001}),
        (BDKD, {"gamma": math.inf}),
        (BDKD, {"eps": 0.0}),
        (TopKLD, {"k": 0}),
        (LSKD, {"eps": 0.0}),
        (LSKD, {"smoothing": 0.6}),
    ],
)
def test_wrong_parameters_are_named(make: type[Objective], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
