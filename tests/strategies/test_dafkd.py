"""DaFKD: logits weighted by each client's discriminator."""

import random
from typing import Any

import pytest
import torch
from fedkd.clients.exchange.discriminated_logits import DiscriminatedLogits
from fedkd.strategies.dafkd import DaFKD
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor

import fedkd
from fedkd import ConfigError, simulate
from fedkd.distillation.base import Target
from fedkd.distillation.kl import KL
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack


def teach(values: Tensor, scores: Tensor) -> Tensor:
    n, samples, _ = values.shape
    ids = torch.arange(samples)
    stack = KnowledgeStack("logits", values, list(range(n)), ids, scores=scores)
    return fuse_in_blocks(DaFKD(), stack, InlineBlocks())[0].values


def clouds(n: int = 40) -> tuple[Tensor, Tensor]:
    """Public samples, the first half of them where the private ones are."""
    generator = torch.Generator().manual_seed(0)
    public = torch.randn(60, 3, generator=generator)
    public[:30, 0] += 3
    private = torch.randn(n, 3, generator=generator)
    private[:, 0] += 3
    return public, private


def test_the_weights_are_shares_of_the_discriminators_by_hand() -> None:
    values = torch.tensor([[[6.0, 0.0]], [[0.0, 3.0]], [[9.0, 9.0]]])
    scores = torch.tensor([[0.2], [0.4], [0.0]])
    teacher = teach(values, scores)
    torch.testing.assert_close(teacher, torch.tensor([[2.0, 2.0]]))
    assert (teacher - values.mean(dim=0)).abs().max() > 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6))
def test_clients_may_change_places_and_one_alone_is_the_identity(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = 3 * torch.randn(n, 300, 4, generator=generator)
    scores = torch.rand(n, 300, generator=generator)
    order = torch.randperm(n, generator=generator)
    teacher = teach(values, scores)
    torch.testing.assert_close(teach(values[order], scores[order]), teacher, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(teach(values[:1], scores[:1]), values[0])
    even = teach(values, torch.full((n, 300), 0.3))
    torch.testing.assert_close(even, values.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_the_discriminator_tells_private_from_public() -> None:
    public, private = clouds()
    scores = DiscriminatedLogits().judged(public, private, torch.Generator().manual_seed(0))
    assert scores[:30].median() > 2 * scores[30:].median()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_discriminator_is_balanced_whoever_has_more_samples() -> None:
    """Where half the public samples are, a perfect one says 1 / (1 + 1/2)."""
    for n in (400, 4000):
        generator = torch.Generator().manual_seed(0)
        scores = DiscriminatedLogits(steps=100, lr=1e-2).judged(*clouds(n), generator)
        assert scores[:30].mean() == pytest.approx(2 / 3, abs=0.15)


def test_the_discriminator_draws_from_the_clients_generator_alone() -> None:
    public, private = clouds()
    exchange, before = DiscriminatedLogits(steps=5), (torch.get_rng_state(), random.getstate())
    first = exchange.judged(public, private, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    torch.rand(3)
    assert torch.equal(exchange.judged(public, private, torch.Generator().manual_seed(1)), first)
    other = exchange.judged(public, private, torch.Generator().manual_seed(2))
    assert not torch.equal(other, first)


def test_clients_learn_at_the_methods_temperature_without_its_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, loss = set(), KL.__call__

    def watched(self: KL, student: Any, teacher: Target, batch: Any = None) -> Any:
        seen.add((self.temperature, self.scale, teacher.kind))
        return loss(self, student, teacher, batch)

    monkeypatch.setattr(KL, "__call__", watched)
    simulate("dafkd", **TINY | {"rounds": 1})
    assert seen == {(10.0, False, "logits")}


@pytest.mark.parametrize(("name", "value"), [("steps", -1), ("lr", 0), ("temperature", 0)])
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        simulate({"name": "dafkd", name: value}, **TINY)


def test_mixed_models_and_resume(tmp_path) -> None:
    settings = TINY | {"model": MIXED, "fraction": 0.6, "transfer.per_round": 30}
    strategy = {"name": "dafkd", "steps": 20}
    whole = simulate(strategy, **settings)
    assert whole.summary["rejected"] == 0
    simulate(strategy, run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]
