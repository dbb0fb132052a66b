"""FD: mean logits per label, as a second target of private training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support
import torch
from fedkd.clients import Client
from fedkd.clients.exchange.class_logits import ClassLogits, class_means
from fedkd.clients.standard import Standard
from fedkd.strategies.fd import FD
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError, simulate
from fedkd.knowledge import KnowledgeStack, Target

SMOOTHED = Path(__file__).parents[2] / "experiments" / "plugins" / "label_smoothing.py"
NOBODY = torch.zeros(0, dtype=torch.int64)
seeds = st.integers(0, 999)


def stack_of(values: Tensor, has: Tensor) -> KnowledgeStack:
    return support.stack_of(values, kind="class_knowledge", mask=has)


def drawn(seed: int, n: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = 3 * torch.randn(n, classes, classes, generator=generator)
    return values, torch.rand(n, classes, generator=generator) < 0.6


# -- the server's half ---------------------------------------------------------------------------


def test_the_mean_is_over_those_who_have_the_class_by_hand() -> None:
    values = torch.tensor([[[1.0, -1.0], [0.0, 0.0]], [[3.0, 1.0], [2.0, 4.0]]])
    has = torch.tensor([[True, False], [True, True]])
    teacher = FD().fuse(stack_of(values, has))
    assert torch.equal(teacher, torch.tensor([[2.0, 0.0], [2.0, 4.0]]))
    assert (teacher - values.mean(dim=0)).abs().max() > 1e-3


def test_without_oneself_by_hand() -> None:
    """Class 0 of three clients, class 1 of the second alone: it keeps its own."""
    values = torch.tensor([[[1.0, 0], [0, 0]], [[3.0, 0], [5.0, 7.0]], [[8.0, 0], [0, 0]]])
    has = torch.tensor([[True, False], [True, True], [True, False]])
    teacher = FD(include_self=False).fuse(stack_of(values, has))
    assert teacher[:, 0, 0].tolist() == [5.5, 4.5, 2.0]
    assert torch.equal(teacher[:, 1], torch.tensor([[5.0, 7.0]] * 3))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6), st.booleans())
def test_clients_may_change_places(seed: int, n: int, include_self: bool) -> None:
    values, has = drawn(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    teacher = FD(include_self=include_self).fuse(stack_of(values, has))
    moved = FD(include_self=include_self).fuse(stack_of(values[order], has[order]))
    expected = teacher if include_self else teacher[order]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 6))
def test_the_others_mean_is_that_of_a_stack_without_the_client(seed: int, n: int) -> None:
    values, has = drawn(seed, n)
    teacher = FD(include_self=False).fuse(stack_of(values, has))
    for client in range(n):
        rest = [other for other in range(n) if other != client]
        expected = FD().fuse(stack_of(values[rest], has[rest]))
        known = has[rest].any(dim=0)
        torch.testing.assert_close(teacher[client][known], expected[known], atol=1e-5, rtol=1e-4)
        own = has[client] & ~known
        assert torch.equal(teacher[client][own], values[client][own])


@given(seeds, st.booleans())
def test_one_client_alone_is_the_identity(seed: int, include_self: bool) -> None:
    stack = stack_of(*drawn(seed, 1))
    teacher = FD(include_self=include_self).fuse(stack)
    assert torch.equal(teacher.reshape(4, 4), stack.values[0])


# -- the client's half ---------------------------------------------------------------------------


def phase_of(labels: list[int], classes: int = 3) -> Any:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(labels), 2, generator=generator)
    client = Client(0, nn.Linear(2, classes), x, torch.tensor(labels), generator)
    fit = {"epochs": 1, "batch_size": 4, "lr": 0.1, "momentum": 0.0, "optimizer": "sgd"}
    loop = Standard(fit=fit, distil={}, device="cpu")
    return SimpleNamespace(client=client, loop=loop, index=0, classes=classes)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_class_means(labels: list[int]) -> None:
    values = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0))
    means, present = class_means(values, torch.tensor(labels), 4)
    for one in range(4):
        rows = values[[label == one for label in labels]]
        assert bool(present[one]) == (len(rows) > 0)
        expected = rows.mean(dim=0) if len(rows) else torch.zeros(2)
        torch.testing.assert_close(means[one], expected)


def test_a_client_uploads_the_mean_logits_of_its_labels() -> None:
    phase = phase_of([2, 0, 2])
    sent = ClassLogits().upload(phase)
    with torch.no_grad():
        logits = phase.client.model(phase.client.x)
    assert sent.mask is not None
    assert sent.mask.tolist() == [True, False, True]
    torch.testing.assert_close(sent.values[0], logits[1])
    torch.testing.assert_close(sent.values[2], (logits[0] + logits[2]) / 2)
    assert not sent.values[1].any()


def test_the_extra_loss_by_hand() -> None:
    """Uniform predictions of 3 classes cost log 3 against any soft target, unknown classes 0."""
    phase, exchange = phase_of([0, 1]), ClassLogits(weight=2.0)
    values, known = torch.tensor([[9.0, 0, 0], [0, 0, 0], [0, 0, 0]]), torch.tensor([1, 0, 0])
    exchange.learn(phase, Target(values, "class_knowledge", mask=known.bool()))
    with exchange.fitting(phase):
        loss = phase.client.extra_loss(torch.zeros(2, 3), torch.tensor([0, 1]))
        sharp = phase.client.extra_loss(torch.tensor([[9.0, 0, 0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(2 * torch.tensor(3.0).log().item() / 2)
    p = values[0].softmax(dim=-1)
    assert sharp.item() == pytest.approx(-2 * (p * p.log()).sum().item(), abs=1e-6)


def test_before_the_first_teacher_training_is_plain() -> None:
    phase = phase_of([0, 1])
    with ClassLogits().fitting(phase):
        assert phase.client.extra_loss is None


def test_weight_0_is_local_training() -> None:
    local = simulate("local", **TINY).summary["alma_global"]
    assert simulate({"name": "fd", "weight": 0.0}, **TINY).summary["alma_global"] == local
    assert simulate({"name": "fd", "weight": 5.0}, **TINY).summary["alma_global"] != local


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="weight=-1"):
        simulate({"name": "fd", "weight": -1.0}, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("include_self", [True, False])
def test_mixed_models_and_resume(include_self: bool, tmp_path: Path) -> None:
    strategy = {"name": "fd", "include_self": include_self}
    settings = TINY | {"model": MIXED if include_self else "mlp", "fraction": 0.6}
    whole = simulate(strategy, **settings)
    assert whole.summary["rejected"] == 0
    simulate(strategy, run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]


def test_another_loop_and_flipped_labels() -> None:
    honest = simulate("fd", client=f"{SMOOTHED}:Smoothed", **TINY)
    attack = {"name": "label_flip", "fraction": 0.4}
    hostile = simulate("fd", client=f"{SMOOTHED}:Smoothed", attack=attack, **TINY)
    assert honest.summary["rejected"] == hostile.summary["rejected"] == 0
    assert honest.summary["digest"] != hostile.summary["digest"]
