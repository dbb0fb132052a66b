"""Distillation objectives against values worked out by hand, and their invariants."""

import math
import re
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fedkd.distillation import Objective, Target
from fedkd.distillation.kl import KL
from fedkd.distillation.l1 import L1
from fedkd.distillation.mse import MSE
from fedkd.distillation.reverse_kl import ReverseKL
from fedkd.distillation.sinkd import SinKD
from fedkd.distillation.taid import TAID
from fedkd.plugins import available

OBJECTIVES = [KL, ReverseKL, L1, MSE, TAID, SinKD]
seeds = st.integers(0, 10_000)
temperatures = st.floats(0.5, 8)


def logits(seed: int, rows: int = 5, classes: int = 4) -> torch.Tensor:
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def gradient(objective: Objective, z: torch.Tensor, teacher: Target) -> torch.Tensor:
    z = z.clone().requires_grad_(True)
    objective(z, teacher).backward()
    assert z.grad is not None
    return z.grad


def test_short_names_resolve() -> None:
    names = "kl l1 mse reverse_kl sinkd taid js jeffreys skewed_kl alpha_beta amid bd_kd lskd dist"
    found = available("distillation", Objective)
    assert set(found) == {
        *names.split(),
        "mlkd",
        "rkd",
        "ctkd",
        "dkd",
        "nkd",
        "ofa",
        "topkld",
        "dhkd",
        "nd",
        "trg",
        "tgeo",
        "gaussian_kl",
        "cross_correlation",
        "instance_similarity",
    }
    assert set(found.values()) >= set(OBJECTIVES)


@pytest.mark.parametrize("make", available("distillation", Objective).values())
def test_a_module_says_how_well_its_formula_is_known(make: type[Objective]) -> None:
    doc = sys.modules[make.__module__].__doc__ or ""
    assert len(re.findall(r"^Confidence: (?:certain|secondary|inferred|ours)\b", doc, re.M)) == 1
    assert doc.count("Confidence:") == 1


@pytest.mark.parametrize("make", OBJECTIVES)
@pytest.mark.parametrize("kind", ["soft_labels", "logits"])
def test_finite_with_gradient_even_for_hard_labels_and_large_logits(
    make: type[Objective], kind: str
) -> None:
    hard = torch.eye(4) if kind == "soft_labels" else 200 * torch.eye(4)
    for temperature in (1.0, 3.0):
        z = (100 * torch.eye(4).flip(0)).requires_grad_(True)
        loss = make(temperature=temperature)(z, Target(hard, kind))
        loss.backward()
        assert loss.ndim == 0
        assert loss.isfinite()
        assert z.grad is not None
        assert z.grad.isfinite().all()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, temperature=temperatures)
def test_teacher_kinds_agree(seed: int, temperature: float) -> None:
    z = logits(seed)
    raw, soft = Target(z, "logits"), Target(z.softmax(-1))
    torch.testing.assert_close(raw.probabilities(temperature), soft.probabilities(temperature))
    torch.testing.assert_close(
        raw.log_probabilities(temperature),
        soft.log_probabilities(temperature),
        rtol=1e-4,
        atol=1e-4,
    )
    for make in (KL, ReverseKL, TAID, SinKD):
        losses = [make(temperature=temperature)(logits(seed + 1), t) for t in (raw, soft)]
        torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)


def test_teacher_by_hand() -> None:
    soft = Target(torch.tensor([[0.9, 0.1, 0.0]]))
    torch.testing.assert_close(soft.probabilities(2.0), torch.tensor([[0.75, 0.25, 0.0]]))
    assert soft.probabilities() is soft.values
    assert soft.log_probabilities()[0, 2] == pytest.approx(-87.34, abs=0.01)
    with pytest.raises(ValueError, match="kind=labels"):
        Target(torch.zeros(1, 2), "labels")


def test_temperature_limits() -> None:
    soft = Target(torch.tensor([[0.5, 0.3, 0.2]]))
    torch.testing.assert_close(
        soft.probabilities(1e5), torch.full((1, 3), 1 / 3), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(soft.probabilities(1e-2), torch.tensor([[1.0, 0, 0]]))
    # Hinton et al., section 2.1: for large T the scaled KL is half the squared distance of logits
    z, t = logits(1), logits(2)
    distance = (z - z.mean(-1, keepdim=True)) - (t - t.mean(-1, keepdim=True))
    limit = distance.square().sum(-1).mean() / (2 * z.shape[1])
    loss = KL(temperature=1000.0)(z.double(), Target(t.double(), "logits"))
    torch.testing.assert_close(loss.float(), limit, rtol=1e-2, atol=0)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, temperature=temperatures)
def test_zero_loss_and_gradient_at_the_teacher(seed: int, temperature: float) -> None:
    z = logits(seed)
    for kind, values in {"logits": z, "soft_labels": z.softmax(-1)}.items():
        teacher = Target(values, kind)
        for make in (KL, ReverseKL, MSE):
            objective = make(temperature=temperature)
            assert float(objective(z, teacher)) == pytest.approx(0, abs=1e-4)
            assert gradient(objective, z, teacher).abs().max() < 1e-4
    teacher = Target(z, "logits")  # |x| has a gradient of 0 at exactly 0 only
    assert float(L1()(z, teacher)) == 0
    assert not gradient(L1(), z, teacher).any()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, temperature=temperatures)
def test_divergences_are_not_negative(seed: int, temperature: float) -> None:
    z, teacher = logits(seed), Target(logits(seed + 1).softmax(-1))
    for make in (KL, ReverseKL, L1, MSE, SinKD):
        assert float(make(temperature=temperature)(z, teacher)) > 0


def test_kl_by_hand() -> None:
    z = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    teacher = Target(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    expected = (math.log(2) + 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) / 2
    assert float(KL()(z, teacher)) == pytest.approx(expected)
    scaled, plain = KL(temperature=2.0), KL(temperature=2.0, scale=False)
    assert float(scaled(z, teacher)) == pytest.approx(4 * float(plain(z, teacher)))


def test_kl_gradient_is_that_of_soft_cross_entropy() -> None:
    z, p = logits(4), logits(5).softmax(-1)
    expected = (z.softmax(-1) - p) / len(z)
    torch.testing.assert_close(gradient(KL(), z, Target(p)), expected)


def test_reverse_kl_by_hand() -> None:
    z = torch.tensor([[math.log(3), 0.0]])
    loss = ReverseKL()(z, Target(torch.tensor([[0.5, 0.5]])))
    assert float(loss) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    hard = ReverseKL(eps=1e-4)(torch.zeros(1, 2), Target(torch.tensor([[1.0, 0.0]])))
    assert float(hard) == pytest.approx(-math.log(2) - 0.5 * math.log(1e-4))


def test_l1_and_mse_by_hand() -> None:
    z = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    raw = Target(torch.tensor([[1.0, 0.0], [1.0, 2.0]]), "logits")
    assert float(L1(temperature=3.0)(z, raw)) == pytest.approx(4 / 4)
    assert float(MSE(temperature=3.0)(z, raw)) == pytest.approx(6 / 4)
    soft = Target(torch.tensor([[1.0, 0.0]]))
    assert float(L1()(torch.zeros(1, 2), soft)) == pytest.approx(0.5)
    assert float(MSE()(torch.zeros(1, 2), soft)) == pytest.approx(0.25)


def test_taid_at_one_is_kl_up_to_the_teachers_entropy() -> None:
    z, p = logits(6), logits(7).softmax(-1)
    own = -(p * p.log()).sum(-1).mean()
    at_one = TAID(t_start=1.0)
    torch.testing.assert_close(at_one(z, Target(p)), KL()(z, Target(p)) + own)
    torch.testing.assert_close(gradient(at_one, z, Target(p)), gradient(KL(), z, Target(p)))


def test_taid_at_zero_teaches_nothing() -> None:
    z = logits(8)
    assert gradient(TAID(t_start=0.0), z, Target(logits(9), "logits")).abs().max() < 1e-7


def test_taid_target_by_hand() -> None:
    z, teacher = torch.tensor([[0.0, 1.0]]), Target(torch.tensor([[2.0, 0.0]]), "logits")
    target = torch.tensor([[0.8, 0.6]]).softmax(-1)  # .6 * student + .4 * teacher
    expected = -(target * z.log_softmax(-1)).sum()
    torch.testing.assert_close(TAID()(z, teacher), expected)


def test_taid_target_at_another_temperature_by_hand() -> None:
    """Both of what is mixed are divided, the student once more on its own."""
    z, teacher = torch.tensor([[0.0, 1.0]]), Target(torch.tensor([[2.0, 0.0]]), "logits")
    target = torch.tensor([[0.8, 0.6]]).div(4).softmax(-1)
    expected = -(target * z.div(4).log_softmax(-1)).sum()
    torch.testing.assert_close(TAID(temperature=4.0)(z, teacher), expected)


def test_taid_and_sinkd_give_the_values_of_their_sources() -> None:
    """What their public code gives on these two samples."""
    teacher = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    z = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]]).log()
    objective = TAID()
    assert float(objective(z[:1], Target(teacher[:1]))) == pytest.approx(1.132568, abs=1e-5)
    second = torch.tensor([[-1.0, math.log(1 - math.exp(-1))]])
    sure = Target(torch.tensor([[1000.0, 0.0]]), "logits")
    assert float(objective(second, sure)) == pytest.approx(1)
    assert objective.t - 0.4 == pytest.approx(1.500878e-4, abs=1e-9)
    for temperature, value in {1.0: 1.015325, 2.0: 0.637807}.items():
        blind = SinKD(weight=1.0, kl=0.0, sinkhorn_temperature=temperature)
        assert float(blind(z, Target(teacher))) == pytest.approx(value, abs=1e-5)


def test_taid_schedule() -> None:
    objective, teacher = TAID(), Target(torch.tensor([[0.9, 0.1]]))
    before = objective(torch.tensor([[0.0, 1.0]]), teacher)
    assert objective.t == 0.4  # the first loss has nothing to be compared with
    now = objective(torch.tensor([[1.0, 0.0]]), teacher)
    trend = 0.01 * (before - now) / before
    assert objective.t == pytest.approx(0.4 + 5e-4 * 0.6 / (1 + math.exp(-trend)))
    objective.progress(0.5)
    objective(torch.zeros(1, 2), teacher)
    assert objective.t == pytest.approx(0.7)
    objective.progress(1.0)
    objective(torch.zeros(1, 2), teacher)
    assert objective.t == 1.0
    objective.progress(0.1)
    objective(torch.zeros(1, 2), teacher)
    assert objective.t == 1.0  # never back
    objective.start(torch.nn.Identity())
    assert vars(objective) == vars(TAID())


def test_sinkd_of_two_samples_by_hand() -> None:
    """Costs [[0, 2], [2, 0]]: one normalisation makes the plan doubly stochastic."""
    z = 200 * torch.eye(2)
    objective = SinKD(weight=1.0, kl=0.0, epsilon=2.0)
    share = math.exp(-1) / (1 + math.exp(-1))
    assert float(objective(z, Target(torch.eye(2)))) == pytest.approx(4 * share)


def test_sinkd_of_equal_predictions() -> None:
    """All costs equal: a uniform plan of total B."""
    z, teacher = torch.zeros(3, 2), Target(torch.tensor([[1.0, 0.0]]).expand(3, 2))
    assert float(SinKD(weight=1.0, kl=0.0)(z, teacher)) == pytest.approx(3 * 1.0)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_sinkhorn_distance_is_blind_to_the_order_but_sinkd_is_not(seed: int) -> None:
    z, teacher = logits(seed), Target(logits(seed + 1).softmax(-1))
    blind, seeing = SinKD(weight=1.0, kl=0.0), SinKD()
    torch.testing.assert_close(blind(z.flip(0), teacher), blind(z, teacher), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        seeing(z, teacher), KL()(z, teacher) + 0.001 * blind(z, teacher), rtol=1e-4, atol=1e-5
    )


def test_the_sinkhorn_plan_is_the_one_with_unit_marginals() -> None:
    """Of the form diag(u) exp(-W / epsilon) diag(v) there is one only."""
    student, teacher = (10 * logits(seed).double() for seed in (1, 2))
    cost = (student.softmax(-1)[:, None] - teacher.softmax(-1)[None]).abs().sum(-1)
    plan = (-cost).exp()
    while (plan.sum(dim=1) - 1).abs().max() > 1e-9:
        plan = plan / plan.sum(dim=1, keepdim=True)
        plan = plan / plan.sum(dim=0, keepdim=True)
    objective = SinKD(weight=1.0, kl=0.0, epsilon=1.0, sinkhorn_temperature=1.0)
    found = objective(student.float(), Target(teacher.softmax(-1).float()))
    expected = (plan * cost).sum()
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    assert float(expected) < 0.95 * float(cost.mean() * len(cost))  # a uniform plan's


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (KL, {"temperature": 0.0}),
        (L1, {"temperature": math.nan}),
        (MSE, {"temperature": math.inf}),
        (ReverseKL, {"eps": 0.0}),
        (TAID, {"t_start": 0.8, "t_end": 0.7}),
        (TAID, {"rate": -1.0}),
        (TAID, {"momentum": 1.0}),
        (SinKD, {"weight": -0.1}),
        (SinKD, {"epsilon": 0.001}),
        (SinKD, {"iterations": 0}),
        (SinKD, {"sinkhorn_temperature": 0.0}),
    ],
)
def test_wrong_parameters_are_named(make: type[Objective], wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)


@pytest.mark.parametrize("make", OBJECTIVES)
def test_distilling_moves_the_student_to_the_teacher(make: type[Objective]) -> None:
    teacher = Target(logits(3).softmax(-1))
    z = torch.zeros_like(teacher.values, requires_grad=True)
    objective, optimiser = make(), torch.optim.Adam([z], 0.1)
    objective.start(torch.nn.Identity())
    for step in range(200):
        objective.progress(step / 200)
        optimiser.zero_grad()
        objective(z, teacher).backward()
        optimiser.step()
    assert F.l1_loss(z.softmax(-1), teacher.values) < 0.02
