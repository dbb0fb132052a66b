"""FedMD: the plain mean over clients, of logits or of soft labels."""

import pytest
import torch
from fedkd.strategies.fedmd import FedMD
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import stack_of

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack


def test_mean_of_logits_by_hand() -> None:
    values = torch.tensor([[[1.0, 3.0], [0.0, -2.0]], [[3.0, -1.0], [1.0, 1.0]]])
    teacher, weights = fuse_in_blocks(FedMD(), stack_of(values, kind="logits"), InlineBlocks())
    assert weights is None
    assert teacher.kind == "logits"
    assert torch.equal(teacher.values, torch.tensor([[2.0, 1.0], [0.5, -0.5]]))


def test_mean_of_soft_labels_by_hand() -> None:
    values = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]], [[0.5, 0.5]]])
    strategy = FedMD(exchange="soft_labels")
    teacher, _ = fuse_in_blocks(strategy, stack_of(values, kind="soft_labels"), InlineBlocks())
    assert teacher.kind == "soft_labels"
    assert torch.equal(teacher.values, torch.tensor([[0.5, 0.5]]))


def test_the_mean_weighted_by_precision_by_hand() -> None:
    """Two targets; of the first, precisions 1, 1/2 and 1/4 give weights 4/7, 2/7 and 1/7.

    Its mean is (0 + 2 * 7 + 14) / 7 = 4, its variance (4 * 1 + 2 * (2 + 49) + 4 + 196) / 7 - 16.
    Of the second all variances are 1: the plain mean, and 1 beside what the means differ.
    """
    first, second = [(0.0, 1.0), (7.0, 2.0), (14.0, 4.0)], [(0.0, 1.0), (3.0, 1.0), (0.0, 1.0)]
    values = torch.tensor([[[a, b, v, w]] for (a, v), (b, w) in zip(first, second, strict=True)])
    stack = stack_of(values, kind="gaussian_predictions")
    strategy = FedMD(weighting="precision")
    teacher, _ = fuse_in_blocks(strategy, stack, InlineBlocks())
    by_hand = torch.tensor([[4.0, 1.0, 306 / 7 - 16, 3.0]])
    torch.testing.assert_close(teacher.values, by_hand)
    assert (FedMD().sums_only, strategy.sums_only) == (True, False)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_mean_weighted_by_precision_lies_between(seed: int, n: int) -> None:
    """In any order; whose variance is far smaller decides; alike variances are the plain mean."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(n, 9, 2, generator=generator)
    variances = torch.rand(n, 9, 2, generator=generator) + 0.1
    values = torch.cat([means, variances], dim=-1)

    def fused(values: torch.Tensor, weighting: str = "precision") -> torch.Tensor:
        strategy = FedMD(weighting=weighting)  # type: ignore[arg-type]
        stack = stack_of(values, kind="gaussian_predictions")
        return fuse_in_blocks(strategy, stack, InlineBlocks())[0].values

    mean, variance = fused(values).chunk(2, dim=-1)
    assert (mean <= means.amax(dim=0) + 1e-5).all()
    assert (mean >= means.amin(dim=0) - 1e-5).all()
    assert (variance >= variances.amin(dim=0) - 1e-5).all()
    torch.testing.assert_close(
        fused(values[torch.randperm(n, generator=generator)]), torch.cat([mean, variance], dim=-1)
    )
    alike = torch.cat([means, torch.full_like(means, 0.5)], dim=-1)
    torch.testing.assert_close(fused(alike), fused(alike, "uniform"))
    sure = values.clone()
    sure[0, :, 2:] = 1e-3
    sure[1:, :, 2:] = 1e3
    torch.testing.assert_close(fused(sure)[:, :2], means[0], atol=1e-4, rtol=0)


def test_the_objective_follows_what_is_exchanged() -> None:
    assert (FedMD().exchange, FedMD().objective) == ("logits", "l1")
    soft = FedMD(exchange="soft_labels")
    assert (soft.exchange, soft.objective) == ("soft_labels", "kl")
    with pytest.raises(ConfigError, match=r"strategy\.exchange=parameters"):
        fedkd.simulate({"name": "fedmd", "exchange": "parameters"}, clients=2, engine="inline")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.sampled_from(["logits", "soft_labels"]))
def test_the_mean_is_exact_in_any_order(seed: int, n: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, 9, 5, generator=generator)
    if kind == "soft_labels":
        values = values.softmax(dim=-1)
    strategy = FedMD(exchange=kind)  # type: ignore[arg-type]
    teacher = fuse_in_blocks(strategy, stack_of(values, kind=kind), InlineBlocks())[0].values
    expected = sum(values[k].double() for k in range(n)) / n
    torch.testing.assert_close(teacher.double(), expected, atol=1e-6, rtol=0)
    shuffled = values[torch.randperm(n, generator=generator)]
    again = fuse_in_blocks(strategy, stack_of(shuffled, kind=kind), InlineBlocks())[0].values
    torch.testing.assert_close(again, teacher)


class Watched(FedMD):
    """Keeps the last stack."""

    def fuse(self, knowledge: KnowledgeStack) -> torch.Tensor:
        self.seen = knowledge
        return super().fuse(knowledge)


def test_the_temperature_does_not_touch_uploaded_logits() -> None:
    seen = []
    for temperature in (1.0, 5.0):
        strategy = Watched()
        more = {"distil.temperature": temperature}
        fedkd.simulate(strategy, clients=3, rounds=1, engine="inline", **more)
        seen.append(strategy.seen.values)
    assert torch.equal(*seen)


def test_one_client_distils_from_itself() -> None:
    """L1 to its own logits is 0, and so is its gradient: nothing but SGD with zero steps."""
    result = fedkd.simulate(
        "fedmd", clients=1, rounds=1, engine="inline", distil={"batch_size": 200}
    )
    rows = result.clients.to_pandas().set_index("metric")["value"]
    assert rows["loss_distil"] == pytest.approx(0, abs=1e-6)
