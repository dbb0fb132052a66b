"""FedAUX: logits weighted by a logistic regression between private and public samples."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import support
import torch
from fedkd.clients import Client
from fedkd.clients.exchange.likeness_logits import LikenessLogits, unit_ball
from fedkd.clients.standard import Standard
from fedkd.strategies.fedaux import FedAUX
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError, simulate
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack

seeds = st.integers(0, 999)


def stack_of(values: Tensor, scores: Tensor) -> KnowledgeStack:
    return support.stack_of(values, kind="logits", scores=scores)


def drawn(seed: int, n: int, samples: int = 300) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = 3 * torch.randn(n, samples, 4, generator=generator)
    return values, torch.rand(n, samples, generator=generator)


def teach(values: Tensor, scores: Tensor) -> Tensor:
    return fuse_in_blocks(FedAUX(), stack_of(values, scores), InlineBlocks())[0].values


def clouds(seed: int = 0, n: int = 40) -> tuple[Tensor, Tensor]:
    """Public samples, the first half of them where the private ones are."""
    generator = torch.Generator().manual_seed(seed)
    public = torch.randn(60, 3, generator=generator)
    public[:30, 0] += 3
    private = torch.randn(n, 3, generator=generator)
    private[:, 0] += 3
    return public, private


def test_the_weighted_mean_by_hand() -> None:
    values = torch.tensor([[[4.0, 0.0]], [[0.0, 8.0]], [[1.0, 1.0]]])
    scores = torch.tensor([[0.5], [0.25], [0.25]])
    teacher = teach(values, scores)
    torch.testing.assert_close(teacher, torch.tensor([[2.25, 2.25]]))
    assert (teacher - values.mean(dim=0)).abs().max() > 1e-3


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 6), st.floats(0.1, 10))
def test_teachers_lie_between_the_clients_whatever_the_unit(seed: int, n: int, unit: float) -> None:
    values, scores = drawn(seed, n)
    teacher = teach(values, scores)
    assert (teacher <= values.amax(dim=0) + 1e-5).all()
    assert (teacher >= values.amin(dim=0) - 1e-5).all()
    torch.testing.assert_close(teach(values, scores * unit), teacher, atol=1e-5, rtol=1e-4)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(teach(values[order], scores[order]), teacher, atol=1e-5, rtol=1e-4)


@given(seeds, st.integers(1, 4))
def test_equal_scores_are_the_plain_mean(seed: int, n: int) -> None:
    values, scores = drawn(seed, n)
    for same in (scores[:1].expand(n, -1), torch.zeros(n, 300)):
        torch.testing.assert_close(teach(values, same), values.mean(dim=0), atol=1e-5, rtol=1e-4)


# -- scores --------------------------------------------------------------------------------------


def test_what_looks_private_scores_high() -> None:
    public, private = clouds()
    scores = LikenessLogits().likeness(public, private, torch.Generator())
    assert scores[:30].median() > 2 * scores[30:].median()
    assert ((scores > 0) & (scores < 1)).all()


def gradient(x: Tensor, private: Tensor, w: Tensor, penalty: float) -> Tensor:
    """Of ``mean log-loss + penalty / 2 ||w||^2``."""
    return ((x @ w).sigmoid() - private.double()) @ x / len(x) + penalty * w


@pytest.mark.parametrize("penalty", [0.01, 1e-4])
def test_trap_lambda_is_that_of_the_mean_loss(penalty: float) -> None:
    """scikit-learn sums the losses: with C = 1 / lambda, the noise would be m times too small."""
    public, private = unit_ball(*clouds())
    x, truth = torch.cat([private, public]), torch.arange(100) < 40
    exchange = LikenessLogits(regularisation=penalty, epsilon=1e15)  # a noise of nothing
    scores = exchange.likeness(*clouds(), torch.Generator())
    w = torch.linalg.lstsq(public, scores.logit()).solution
    assert gradient(x, truth, w, penalty).abs().max() < 1e-6
    assert gradient(x, truth, w, penalty / 100).abs().max() > 1e-5


def test_without_a_budget_the_penalty_is_the_official_codes() -> None:
    assert LikenessLogits().penalty(200) == pytest.approx(0.01 / 200)
    assert LikenessLogits(epsilon=1.0).penalty(200) == 0.01
    assert LikenessLogits(regularisation=0.5).penalty(200) == 0.5


def test_the_noise_by_hand() -> None:
    """lambda 0.01, m 50: sensitivity 4; epsilon 0.5, delta 1e-5."""
    exchange = LikenessLogits(epsilon=0.5, delta=1e-5)
    assert exchange.noise(50) == pytest.approx(4 * math.sqrt(2 * math.log(1.25e5)) / 0.5)


def test_the_noise_comes_from_the_clients_generator() -> None:
    public, private = clouds()

    def coefficients(epsilon: float | None, seed: int) -> Tensor:
        exchange = LikenessLogits(regularisation=0.01, epsilon=epsilon)
        scores = exchange.likeness(public, private, torch.Generator().manual_seed(seed))
        return torch.linalg.lstsq(unit_ball(public, private)[0], scores.logit()).solution

    noise = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    size = LikenessLogits(epsilon=20.0).noise(100)
    moved = coefficients(20.0, 3) - coefficients(None, 3)
    torch.testing.assert_close(moved, size * noise, atol=1e-4, rtol=1e-3)


@given(seeds, st.floats(0.1, 100))
def test_nothing_private_is_in_the_scale(seed: int, stretch: float) -> None:
    public, private = clouds(seed)
    scaled, own = unit_ball(public, private * stretch)
    assert torch.equal(scaled, unit_ball(public, private)[0])
    assert scaled.norm(dim=1).max() <= 1 + 1e-12
    assert own.norm(dim=1).max() <= 1 + 1e-12


def test_the_budget_is_spent_once() -> None:
    public, private = clouds()

    def phase_of(ids: Tensor, seed: int, tensors: dict[str, Tensor]) -> Any:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.zeros(len(private)).long()
        client = Client(0, nn.Linear(3, 4), private, labels, generator, tensors)
        return SimpleNamespace(
            client=client,
            loop=Standard(fit={}, distil={}, device="cpu"),
            index=0,
            options={"temperature": 1.0},
            bench=SimpleNamespace(transfer=public),
            transfer=lambda: (public[ids], ids),
        )

    exchange, memory = LikenessLogits(epsilon=1.0), {}
    first = exchange.upload(phase_of(torch.arange(60), 0, memory)).scores
    second = exchange.upload(phase_of(torch.tensor([5, 50, 7]), 1, memory)).scores
    other = exchange.upload(phase_of(torch.arange(60), 1, {})).scores
    assert first is not None
    assert second is not None
    assert torch.equal(second, first[[5, 50, 7]])
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "value"), [("regularisation", 0), ("epsilon", 0), ("delta", 1)])
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        simulate({"name": "fedaux", name: value}, **TINY)


def test_its_delta_is_small_enough_for_the_largest_client() -> None:
    with pytest.raises(ConfigError, match=r"strategy=fedaux: has delta=0.2: give less than 1/n"):
        simulate({"name": "fedaux", "epsilon": 1.0, "delta": 0.2}, **TINY)
    with pytest.raises(ConfigError, match=r"strategy.delta=0.2: has no effect without a budget"):
        simulate({"name": "fedaux", "delta": 0.2}, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


def test_mixed_models_and_resume(tmp_path) -> None:
    strategy = {"name": "fedaux", "epsilon": 1.0}
    settings = TINY | {"model": MIXED, "fraction": 0.6, "transfer.per_round": 30}
    whole = simulate(strategy, **settings)
    assert whole.summary["rejected"] == 0
    simulate(strategy, run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]
