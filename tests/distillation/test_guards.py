"""Guards against values worked out by hand, and what holds for all of them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedkd.distillation import Objective, Target
from fedkd.distillation.guards import Guard
from fedkd.distillation.guards.base import Lesson, composed
from fedkd.distillation.guards.bsd import BSD
from fedkd.distillation.guards.kd3 import KD3
from fedkd.distillation.guards.kl_dp import KLDP
from fedkd.distillation.guards.mulki import MulKI
from fedkd.distillation.guards.none import NONE
from fedkd.distillation.kl import KL
from fedkd.plugins import available

GUARDS = available("distillation.guards", Guard)
TEACHER = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
OWN = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
"""The reference's fixtures F1 and F2; their labels are 0 and 2."""
KINDS = ("soft_labels", "logits")


def target(p: Tensor, kind: str = "soft_labels", temperature: float = 1.0) -> Target:
    return Target(p if kind == "soft_labels" else p.log(), kind, temperature)


def asked(guard: Guard, kind: str = "soft_labels", y: Any = (0, 2)) -> tuple[Tensor, list[bool]]:
    """Return the probabilities that a guard makes of the fixtures, and the mask."""
    teacher = target(TEACHER, kind)
    values, learnt = guard(teacher, target(OWN, kind), torch.tensor(y))
    return teacher.part(values).probabilities(), learnt.tolist()


def test_short_names_resolve() -> None:
    assert set(GUARDS) == {"none", "kl_dp", "mulki", "kd3", "bsd"}


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_the_reference(kind: str) -> None:
    def close(found: Tensor, wanted: Any) -> None:
        torch.testing.assert_close(found, torch.as_tensor(wanted), rtol=0, atol=1e-5)

    close(asked(NONE(), kind)[0], TEACHER)
    surer, learnt = asked(KLDP(), kind)
    close(surer, TEACHER)
    loss = KL()(OWN[:1].log(), Target(surer[:1]))
    assert loss.item() == pytest.approx(0.277259, abs=1e-5)
    assert learnt == [True, True]
    close(asked(KLDP(labels="transfer"), kind, (2, 2))[0], [*OWN[:1].tolist(), [0.1, 0.1, 0.8]])
    close(asked(MulKI(), kind)[0][0], [0.48, 0.3, 0.22])
    assert asked(KD3(tau=0.5), kind)[1] == [False, True]
    assert asked(KD3(tau=0.44), kind)[1] == [True, True]
    assert asked(BSD(), kind)[1] == [True, True]
    assert asked(BSD(), kind, (2, 2))[1] == [False, True]
    assert asked(BSD(), kind, (1, 1))[1] == [False, False]  # no surer, and not right


def test_surer_is_not_enough_for_bsd() -> None:
    """The teacher gives the label more than the client does, and is wrong all the same."""
    teacher, own = Target(torch.tensor([[0.6, 0.4]])), Target(torch.tensor([[0.9, 0.1]]))
    assert BSD()(teacher, own, torch.tensor([1]))[1].tolist() == [False]


@pytest.mark.parametrize("labels", ["none", "transfer"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tie_keeps_the_student(kind: str, labels: Any) -> None:
    teacher = target(torch.tensor([[0.7, 0.2, 0.1]]), kind)
    own = target(torch.tensor([[0.7, 0.1, 0.2]]), kind)
    y = torch.tensor([0])
    values, _ = KLDP(labels=labels)(teacher, own, y)
    assert torch.equal(values, own.values)
    assert not BSD()(teacher, own, y)[1].any()


def noise(seed: int, rows: int = 8, classes: int = 4) -> Tensor:
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.7, 1.0, 3.0]))
@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", ["none", "transfer"])
def test_it_never_moves_where_the_teacher_is_worse(
    kind: str, labels: Any, seed: int, temperature: float
) -> None:
    z, other = noise(seed), noise(seed + 1)
    y = torch.randint(4, (8,), generator=torch.Generator().manual_seed(seed))

    def as_target(logits: Tensor) -> Target:
        if kind == "logits":
            return Target(logits, kind)
        return Target((logits / temperature).softmax(-1), kind, temperature)

    teacher, own = as_target(other), as_target(z)
    values, _ = KLDP(labels=labels)(teacher, own, y)

    def confidence(one: Target) -> Tensor:
        p = one.probabilities(one.temperature)
        return p.amax(-1) if labels == "none" else p.gather(1, y[:, None]).squeeze(1)

    worse = confidence(teacher) <= confidence(own)
    student = z.clone().requires_grad_()
    KL(temperature=temperature)(student, teacher.part(values)).backward()
    assert student.grad is not None
    moved = student.grad.abs().amax(dim=-1)
    assert (moved[worse] < 1e-6).all()
    assert (moved[~worse] > 1e-6).all()


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_judged_by_itself(name: str, kind: str) -> None:
    p, q = noise(1).softmax(-1), noise(2).softmax(-1)
    y, order = torch.arange(8) % 4, torch.randperm(8, generator=torch.Generator().manual_seed(3))
    guard = GUARDS[name]()
    values, learnt = guard(target(p, kind), target(q, kind), y)
    again, still = guard(target(p[order], kind), target(q[order], kind), y[order])
    assert torch.equal(again, values[order])
    assert torch.equal(still, learnt[order])


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("kind", KINDS)
def test_extremes_are_finite(name: str, kind: str) -> None:
    hard = torch.eye(4) if kind == "soft_labels" else 1e4 * torch.eye(4)
    for teacher, own in ((hard, hard.flip(0)), (hard, hard)):
        values, _ = GUARDS[name]()(Target(teacher, kind), Target(own, kind), torch.arange(4))
        assert values.isfinite().all()
        torch.testing.assert_close(Target(values, kind).probabilities().sum(-1), torch.ones(4))


def test_mixed_logits_stay_on_the_scale_of_the_two() -> None:
    """Where a softmax does not see it, an L1 loss does."""
    one, other = target(TEACHER, "logits"), target(OWN, "logits")
    mixed, _ = MulKI()(one, other)
    for shift in (5.0, -2.0):
        moved = (Target(each.values + shift, "logits") for each in (one, other))
        torch.testing.assert_close(MulKI()(*moved)[0], mixed + shift)
    torch.testing.assert_close(MulKI()(one, one)[0], one.values)
    sure = Target(50 * torch.eye(3)[:1], "logits")
    unsure = Target(sure.values.flip(1), "logits")
    assert torch.allclose(MulKI()(sure, unsure)[0].softmax(-1), torch.tensor([[0.5, 0.0, 0.5]]))


def test_guards_compose_in_order() -> None:
    """What replaces a teacher that is unsure makes it sure enough, but only if it comes first."""
    teacher, own = Target(torch.tensor([[0.4, 0.3, 0.3]])), Target(torch.tensor([[0.1, 0.8, 0.1]]))
    values, learnt = composed([KLDP(), KD3(tau=0.6)], teacher, own)
    assert learnt.tolist() == [True]
    assert torch.equal(values, own.values)
    assert composed([KD3(tau=0.6), KLDP()], teacher, own)[1].tolist() == [False]


class Asks(Guard):
    """Notes what it is asked about."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        self.seen.append((teacher.values.tolist(), None if y is None else y.tolist()))
        return teacher.values, torch.ones(len(teacher.values), dtype=torch.bool)


def test_the_next_one_sees_the_rows_that_are_left() -> None:
    about, y = Asks(), torch.tensor([0, 2])
    values, learnt = composed([KD3(tau=0.5), about], Target(TEACHER), Target(OWN), y)
    assert about.seen == [(TEACHER[1:].tolist(), [2])]
    assert learnt.tolist() == [False, True]
    assert values.shape == TEACHER.shape
    nobody = composed([KD3(tau=0.9), about], Target(TEACHER), Target(OWN), y)
    assert len(about.seen) == 1  # nothing is left to ask about
    assert not nobody[1].any()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (TEACHER[:1], torch.tensor([True, True])),
            r"values \[1, 3\], and the teacher is \[2, 3\]",
        ),
        ((TEACHER, torch.ones(2)), r"mask \[2\] of torch.float32, and it must be bool \[2\]"),
        ((TEACHER, torch.tensor([True])), r"mask \[1\] of torch.bool"),
    ],
)
def test_what_no_loop_could_use_is_named(answer: Lesson, words: str) -> None:
    class Wrong(Guard):
        def __call__(self, *given: Any) -> Lesson:
            return answer

    with pytest.raises(ValueError, match=f"Wrong returns .*{words}"):
        composed([Wrong()], Target(TEACHER), Target(OWN))


@pytest.mark.parametrize("guard", [BSD(), KLDP(labels="transfer")])
def test_labels_are_asked_for_by_name(guard: Guard) -> None:
    assert guard.needs_labels
    with pytest.raises(ValueError, match="looks at labels, and was given none"):
        guard(Target(TEACHER), Target(OWN))


@pytest.mark.parametrize("tau", [-0.1, 1.0, float("nan")])
def test_wrong_parameters_are_named(tau: float) -> None:
    with pytest.raises(ValueError, match="tau"):
        KD3(tau=tau)


def test_no_objective_is_called_like_a_guard() -> None:
    assert not {"guards"} & set(available("distillation", Objective))
