"""Objectives that couple the samples of a batch: by hand, and what holds for all."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fedkd.distillation import Batch, Objective, Target
from fedkd.distillation.dist import DIST
from fedkd.distillation.kl import KL
from fedkd.distillation.mlkd import MLKD
from fedkd.distillation.rkd import RKD

P = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
Z = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]]).log()
ALL: list[tuple[type[Objective], dict[str, Any]]] = [(DIST, {}), (MLKD, {}), (RKD, {})]
CLOUD, OTHER = torch.tensor([[0.0, 0], [0, 1], [1, 0]]), torch.tensor([[0.0, 0], [3, 4], [0, 8]])


def logits(seed: int, rows: int = 5, classes: int = 4) -> Tensor:
    return 2 * torch.randn(
        rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_dist_by_hand() -> None:
    assert float(DIST(gamma=0.0)(Z, Target(P))) == pytest.approx(1 - 0.197045 / 2, abs=1e-5)
    assert float(DIST(beta=0.0)(Z, Target(P))) == pytest.approx(0, abs=1e-6)
    scaled = DIST(temperature=3.0)(Z, Target(P.log(), "logits"))
    third = DIST()(Z / 3, Target(P.log() / 3, "logits"))
    assert float(scaled) == pytest.approx(9 * float(third), rel=1e-5)


def test_dist_correlates_the_columns_of_three_samples() -> None:
    """One column by hand: deviations (-1, 0, 1) and (-1, 1, 0) of it correlate by a half."""
    student = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    teacher = torch.tensor([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8]])
    assert float(DIST(beta=0.0)(student.log(), Target(teacher))) == pytest.approx(0.5, abs=1e-5)


def test_what_does_not_vary_teaches_nothing() -> None:
    z = logits(1).requires_grad_()
    objective = DIST(beta=0.0)
    loss = objective(z, Target(torch.full((5, 4), 0.25, dtype=torch.float64)))
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == pytest.approx(1)
    assert not gradient.any()


def test_mlkd_by_hand() -> None:
    for weights, value in {
        (0.0, 0.0): 0.184388,
        (1.0, 0.0): 0.251888,
        (0.0, 1.0): 0.229855,
    }.items():
        batch, classes = weights
        objective = MLKD(levels=[1.0], weight=1.0, batch=batch, classes=classes)
        assert float(objective(Z, Target(P))) == pytest.approx(value, abs=1e-5)
    levels = [
        MLKD(levels=[level], weight=1.0, batch=0.0, classes=0.0)(Z, Target(P))
        for level in (2.0, 4.0)
    ]
    both = MLKD(levels=[1.0, 2.0], weight=1.0, batch=0.0, classes=0.0, temperature=2.0)(
        Z, Target(P)
    )
    torch.testing.assert_close(both, sum(levels))
    torch.testing.assert_close(levels[0], KL(temperature=2.0)(Z, Target(P)))


def test_rkd_by_hand() -> None:
    assert float(RKD(distance=25.0, angle=50.0).related(CLOUD, OTHER)) == pytest.approx(
        4.050846, abs=1e-5
    )
    distance, angle = RKD(distance=1.0, angle=0.0), RKD(distance=0.0, angle=1.0)
    assert float(distance.related(CLOUD, OTHER)) == pytest.approx(0.041811, abs=1e-5)
    assert float(angle.related(CLOUD, OTHER)) == pytest.approx(0.060111, abs=1e-5)


def test_rkd_does_not_see_turns_moves_and_sizes() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    moved = 5 * OTHER @ turn + torch.tensor([3.0, -1.0])
    assert float(RKD().related(moved, OTHER)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("points", [torch.ones(4, 3), torch.tensor([[0.0, 0], [0, 0], [1, 1]])])
def test_equal_points_have_no_gradient_and_no_nan(points: Tensor) -> None:
    points = points.clone().requires_grad_()
    loss = RKD().related(points, torch.randn(len(points), 3))
    (gradient,) = torch.autograd.grad(loss, points)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e3


def test_rkd_of_features_is_about_features_of_any_width() -> None:
    z, wide = logits(1).requires_grad_(), logits(2, classes=9).requires_grad_()
    objective, teacher = RKD(rows="features", kl=0.0), Target(logits(3), "logits")
    assert objective.layers == ("head",)
    batch = Batch(torch.zeros(5, 1), torch.arange(5), features={"head": wide})
    loss = objective(z, teacher, batch)
    centred = teacher.values - teacher.values.mean(dim=1, keepdim=True)
    torch.testing.assert_close(loss, objective.related(wide, centred))
    loss.backward()
    assert wide.grad is not None
    assert wide.grad.any()
    assert not z.grad.any()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="needs a batch with the student's features"):
        objective(z, teacher)


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
def test_nothing_is_left_to_learn_at_the_teacher(
    make: type[Objective], parameters: dict[str, Any]
) -> None:
    for seed in range(10):
        z, objective = logits(seed).requires_grad_(), make(**parameters)
        loss = objective(z, Target(z.detach(), "logits"))
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.item() == pytest.approx(0, abs=1e-6)
        assert gradient.abs().max() < 1e-6
        assert objective(z, Target(logits(seed + 1), "logits")).item() > 1e-3


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (DIST, {"beta": -1.0}),
        (DIST, {"gamma": float("inf")}),
        (MLKD, {"levels": []}),
        (MLKD, {"levels": ["a"]}),
        (MLKD, {"levels": [0.0]}),
        (MLKD, {"batch": -1.0}),
        (MLKD, {"weight": -1.0}),
        (RKD, {"distance": -1.0}),
    ],
)
def test_wrong_parameters_are_named(make: type[Objective], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
