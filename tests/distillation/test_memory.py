"""Objectives with something that outlives a phase: what they keep, and that it suffices."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from fedkd.distillation import Batch, Objective, Target
from fedkd.distillation.ctkd import CTKD, rise
from fedkd.distillation.kl import KL
from fedkd.distillation.taid import TAID


def logits(seed: int, rows: int = 5, classes: int = 4) -> Tensor:
    return 2 * torch.randn(
        rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def phase(
    objective: Objective, memory: dict[str, Tensor], seeds: range, teacher: Target | None = None
) -> list[float]:
    """Let a fresh copy go through a phase, a batch a seed; return the losses."""
    own, losses = copy.deepcopy(objective), []
    own.start(nn.Identity())
    for place, seed in enumerate(seeds):
        own.progress(place / len(seeds))
        batch = Batch(torch.zeros(5, 1), torch.arange(5), memory=memory)
        losses.append(own(logits(seed), teacher or Target(logits(99), "logits"), batch).item())
    return losses


def test_the_temperature_by_hand() -> None:
    objective = CTKD()
    assert objective.softness(1.0) == pytest.approx(15.621172)
    assert objective.softness(0.0) == 11
    assert CTKD(temperature=0.5).softness(0.0) == 5.5
    assert [objective.curriculum(e) for e in (0, 5, 10, 11)] == pytest.approx([0, 0.5, 1, 1])


@pytest.mark.parametrize("kind", ["soft_labels", "logits"])
@pytest.mark.parametrize("temperature", [0.7, 4.0, 15.0])
def test_the_slope_is_that_of_finite_differences(kind: str, temperature: float) -> None:
    values = logits(2) if kind == "logits" else logits(2).softmax(-1)
    teacher = Target(values, kind, 2.0 if kind == "soft_labels" else 1.0)
    up, down = (KL(temperature=temperature + d)(logits(1), teacher) for d in (1e-5, -1e-5))
    by_hand = (up - down).item() / 2e-5
    assert rise(logits(1), teacher, temperature).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_temperature_works_against_the_student() -> None:
    memory = {"theta": torch.tensor(0.0), "phases": torch.tensor(5)}
    z, teacher = logits(1), Target(logits(2), "logits")
    objective = CTKD(lr=0.2)
    loss = objective(z, teacher, Batch(z, torch.arange(5), memory=memory))
    torch.testing.assert_close(loss, KL(temperature=11.0)(z, teacher))
    slope = 5.0 * rise(z, teacher, 11.0).item()  # 20 / 4: the sigmoid's derivative at 0
    assert memory["theta"].item() == pytest.approx(0.2 * 0.5 * slope)
    assert memory["phases"] == 6
    after = KL(temperature=objective.softness(memory["theta"].item()))(z, teacher)
    assert after > loss


def test_a_first_phase_begins_at_a_fixed_temperature() -> None:
    """lam is 0 at the very start, and the gradient is plain KL's."""
    memory: dict[str, Tensor] = {}
    z = logits(1).requires_grad_()

    def loss(student: Tensor) -> Tensor:
        batch = Batch(z, torch.arange(5), memory=memory)
        memory.clear()
        return CTKD()(student, Target(logits(2), "logits"), batch)

    assert torch.autograd.gradcheck(loss, (z,))
    assert memory["theta"] == 1


def test_zeros_and_infinities_do_not_reach_the_temperature() -> None:
    memory = {"phases": torch.tensor(10)}
    hard = Target(torch.eye(5, 4, dtype=torch.float64).index_fill_(0, torch.tensor([4]), 0.25))
    phase(CTKD(), memory, range(3), hard)
    assert math.isfinite(memory["theta"])
    before = memory["theta"].item()
    broken = Batch(torch.zeros(5, 1), torch.arange(5), memory=memory)
    CTKD()(torch.full((5, 4), math.nan), hard, broken)
    assert memory["theta"].item() == before


@pytest.mark.parametrize("objective", [CTKD(lr=1.0, phases=2), TAID(phases=3, rate=0.3)])
def test_a_new_object_goes_on_with_what_is_in_the_memory(objective: Objective) -> None:
    memory: dict[str, Tensor] = {}
    first = phase(objective, memory, range(3))
    kept = {name: value.clone() for name, value in memory.items()}
    second = phase(objective, memory, range(3, 6))
    assert phase(objective, kept, range(3, 6)) == second
    assert {name: value.item() for name, value in kept.items() if value.dim() == 0} == {
        name: value.item() for name, value in memory.items() if value.dim() == 0
    }
    assert phase(objective, {}, range(3, 6)) != second
    assert phase(objective, {}, range(3)) == first


def test_one_schedule_of_taid_may_take_several_phases() -> None:
    memory: dict[str, Tensor] = {}
    objective, shares = TAID(phases=2, rate=0.0), []
    for seeds in (range(4), range(4), range(4)):
        phase(objective, memory, seeds)
        shares.append(memory["schedule"][0].item())
    assert shares == pytest.approx([0.4 + 0.6 * 3 / 8, 0.4 + 0.6 * 7 / 8, 1.0])
    numbers = memory["schedule"].tolist()
    again = {"phases": torch.tensor(1), "schedule": torch.tensor(numbers, dtype=torch.float64)}
    assert phase(objective, again, range(2)) == phase(objective, memory, range(2))  # at 1 for good


def test_taid_of_one_phase_keeps_nothing() -> None:
    memory: dict[str, Tensor] = {}
    assert not TAID().remembers
    assert phase(TAID(), memory, range(3)) == phase(TAID(), memory, range(3))
    assert memory == {}


@pytest.mark.parametrize("objective", [CTKD(), TAID(phases=2)])
def test_without_a_memory_nothing_is_kept_in_silence(objective: Objective) -> None:
    z, teacher = logits(1), Target(logits(2), "logits")
    for batch in (None, Batch(z, torch.arange(5))):  # a client loop of one's own may hand none
        with pytest.raises(ValueError, match="keeps tensors in a batch's memory; give one"):
            copy.deepcopy(objective)(z, teacher, batch)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (CTKD, {"theta": 30.0}),
        (CTKD, {"lr": -1.0}),
        (CTKD, {"phases": 0}),
        (TAID, {"phases": 0}),
    ],
)
def test_wrong_parameters_are_named(make: type[Objective], wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
