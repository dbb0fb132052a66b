"""DS-FL: entropy reduction of the mean soft labels."""

import math

import pytest
import torch
from fedkd.strategies.dsfl import DSFL
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, stack_of

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.maths.mixing import entropy, simplex_error

seeds = st.integers(0, 10_000)


def random_labels(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator).mul(2).softmax(dim=-1)


def teacher_of(strategy: DSFL, values: torch.Tensor) -> torch.Tensor:
    return fuse_in_blocks(strategy, stack_of(values), InlineBlocks())[0].values


def test_by_hand() -> None:
    """Mean (0.6, 0.4): the ratio of the two is exp((0.6 - 0.4) / 0.1) = e^2."""
    values = torch.tensor([[[0.8, 0.2]], [[0.4, 0.6]]])
    share = math.exp(2) / (1 + math.exp(2))
    expected = torch.tensor([[share, 1 - share]])
    torch.testing.assert_close(teacher_of(DSFL(), values), expected)
    share = math.exp(0.4) / (1 + math.exp(0.4))
    expected = torch.tensor([[share, 1 - share]])
    torch.testing.assert_close(teacher_of(DSFL(era_temperature=0.5), values), expected)


def test_sa_is_the_plain_mean_and_era_is_not() -> None:
    values = random_labels(1, 3)
    torch.testing.assert_close(teacher_of(DSFL(aggregation="sa"), values), values.mean(dim=0))
    assert (teacher_of(DSFL(), values) - values.mean(dim=0)).abs().max() > 1e-3


def test_the_softmax_is_of_probabilities_not_of_logits() -> None:
    """Sharpening the logarithm at T = 0.1 is the tenth power, which is something else."""
    values = torch.tensor([[[0.6, 0.3, 0.1]]])
    tenth = values[0] ** 10 / (values[0] ** 10).sum()
    assert (teacher_of(DSFL(), values) - tenth).abs().max() > 1e-2
    flat = teacher_of(DSFL(era_temperature=1.0), values)  # of logits, T = 1 would change nothing
    torch.testing.assert_close(flat, values[0].softmax(dim=-1))
    assert entropy(flat) > entropy(values[0])


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6), st.floats(0.01, 5))
def test_simplex_order_and_permutation(seed: int, n: int, temperature: float) -> None:
    values, strategy = random_labels(seed, n), DSFL(era_temperature=temperature)
    teacher, mean = teacher_of(strategy, values), values.mean(dim=0)
    assert simplex_error(teacher) < 1e-5
    assert torch.equal(teacher.argmax(dim=-1), mean.argmax(dim=-1))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = teacher_of(strategy, values[order].contiguous())
    torch.testing.assert_close(moved, teacher, atol=1e-5, rtol=1e-4)


def test_a_low_temperature_gives_hard_labels() -> None:
    values = random_labels(4, 3)
    hard = torch.nn.functional.one_hot(values.mean(dim=0).argmax(dim=-1), 4).float()
    torch.testing.assert_close(teacher_of(DSFL(era_temperature=1e-5), values), hard)


def test_sharded_equals_unsharded() -> None:
    values = random_labels(2, 3, samples=300)
    whole = DSFL().fuse(stack_of(values))
    torch.testing.assert_close(teacher_of(DSFL(), values), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_out_of_range_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"era_temperature=.* must be greater than 0"):
        DSFL(era_temperature=temperature)


def test_a_run_with_mixed_models() -> None:
    tiny = {"clients": 5, "rounds": 2, "data.samples_per_client": 20, "transfer.size": 60}
    runs = [
        fedkd.simulate(
            {"name": "dsfl", "aggregation": aggregation}, model=MIXED, engine="inline", **tiny
        )
        for aggregation in ("era", "sa")
    ]
    assert runs[0].summary["rejected"] == 0
    assert runs[0].summary["digest"] != runs[1].summary["digest"]
