"""Densities, their ratios and weights, against the formulas and torch's distributions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from fedkd.maths.density import (
    FLOOR,
    density_ratio,
    gaussian_kernel,
    gaussian_log_density,
    held_out,
    kernel_log_density,
    score_weights,
)

seeds = st.integers(0, 9999)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 20.0])
def test_the_ratio_of_two_points_in_one_place(penalty: float) -> None:
    """K = 1: a = -1 / (l (1 + l)), so r = a + 1/l = 1 / (1 + l)."""
    found = density_ratio(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2), 3.0, penalty)
    assert found.item() == pytest.approx(1 / (1 + penalty))


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 6), st.floats(0.05, 5), st.floats(0.3, 3))
def test_the_ratio_minimises_kulsif(
    seed: int, n: int, m: int, penalty: float, width: float
) -> None:
    """Among all ``sum_k b_k k(x, s_k)`` over all samples s, the objective is a quadratic in b."""
    private, auxiliary = drawn(seed, m, 2), 2 * drawn(seed + 1, n, 2)
    samples = torch.cat([auxiliary, private])
    kernel = gaussian_kernel(samples, samples, width)

    def objective(values: Tensor, squared_norm: Tensor) -> Tensor:
        fit = values[:n].square().mean() / 2 - values[n:].mean()
        return fit + penalty / 2 * squared_norm

    ratio = density_ratio(samples, private, auxiliary, width, penalty)
    ours = torch.linalg.lstsq(kernel, ratio.unsqueeze(1), driver="gelsd").solution.squeeze(1)
    weights = ours.requires_grad_()
    values = kernel @ weights
    objective(values, weights @ values).backward()
    # The gradient is K times something, so it vanishes where the objective is least.
    assert weights.grad is not None
    assert weights.grad.abs().max() < 1e-5 * (1 + ratio.abs().max())


def test_the_ratio_is_large_where_private_samples_are() -> None:
    private, elsewhere = drawn(0, 50, 5), drawn(1, 50, 5) + 4
    uniform = 12 * torch.rand(200, 5, generator=torch.Generator().manual_seed(2)) - 4
    there = density_ratio(torch.cat([drawn(3, 20, 5), elsewhere]), private, uniform, 2.0, 0.1)
    assert there[:20].min() > there[20:].max()


def test_a_large_penalty_leaves_a_kernel_density() -> None:
    x, private, auxiliary = drawn(0, 7, 3), drawn(1, 9, 3), drawn(2, 8, 3)
    ratio = density_ratio(x, private, auxiliary, 1.5, 1e6) * 1e6
    torch.testing.assert_close(
        ratio, gaussian_kernel(x, private, 1.5).mean(dim=1), rtol=1e-5, atol=0
    )


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 30), st.integers(1, 5), st.floats(0, 1))
def test_a_gaussian_is_torchs(seed: int, n: int, dim: int, shrinkage: float) -> None:
    points, x = drawn(seed, n, dim), drawn(seed + 1, 4, dim)
    own = points.var(dim=0, correction=0)
    variance = ((1 - shrinkage) * own + shrinkage * own.mean()).clamp_min(FLOOR)
    expected = Independent(Normal(points.mean(dim=0), variance.sqrt()), 1).log_prob(x)
    torch.testing.assert_close(gaussian_log_density(x, points, shrinkage=shrinkage), expected)


def test_a_gaussian_for_each_class_is_a_mixture() -> None:
    points, x, labels = drawn(0, 12, 3), drawn(1, 5, 3), torch.tensor([7, 2, 2] * 4)
    means = torch.stack([points[labels == one].mean(dim=0) for one in (2, 7)])
    own = (points - means[(labels == 7).long()]).square().mean(dim=0)
    scale = (0.9 * own + 0.1 * own.mean()).sqrt()
    parts = Independent(Normal(means, scale.expand(2, 3)), 1)
    shares = Categorical(torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))
    expected = MixtureSameFamily(shares, parts).log_prob(x)
    torch.testing.assert_close(gaussian_log_density(x, points, labels), expected)


def test_a_kernel_density_by_hand() -> None:
    points, x = drawn(0, 10, 2) * torch.tensor([3.0, 0.5]), drawn(1, 6, 2)
    scale = math.sqrt(points.var(dim=0, correction=0).mean())
    width = scale * 10 ** (-1 / 6)
    kernel = Independent(Normal(points, width), 1).log_prob(x.unsqueeze(1))
    expected = kernel.logsumexp(dim=1) - math.log(10)
    torch.testing.assert_close(kernel_log_density(x, points), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("density", [gaussian_log_density, kernel_log_density])
def test_densities_of_a_single_or_constant_point_are_finite(density) -> None:
    for points in (torch.ones(1, 3), torch.ones(5, 3)):
        there, far = density(torch.tensor([[1.0] * 3, [1.1] * 3]), points)
        assert math.isfinite(there)
        assert math.isfinite(far)
        assert there > far


@given(st.integers(1, 60), seeds)
def test_what_is_held_out_is_not_fitted(n: int, seed: int) -> None:
    fitted, held = held_out(n, torch.Generator().manual_seed(seed))
    assert len(fitted) >= 1
    assert len(held) >= 1
    if n > 1:
        assert sorted([*fitted.tolist(), *held.tolist()]) == list(range(n))
    short = held_out(n, torch.Generator().manual_seed(seed), most=5)
    assert [part.tolist() for part in short] == [fitted[:5].tolist(), held[:5].tolist()]


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 6), st.floats(0.1, 200), st.floats(0.01, 100))
def test_weights_are_shares_of_powers(seed: int, n: int, power: float, scale: float) -> None:
    scores = torch.rand(n, 9, generator=torch.Generator().manual_seed(seed))
    weights = score_weights(scores, power)
    assert torch.allclose(weights.sum(dim=0), torch.ones(9, dtype=torch.float64))
    best = scores.double().amax(dim=0)
    expected = (scores / best) ** power  # no underflow of them all
    torch.testing.assert_close(weights, expected / expected.sum(dim=0))
    # Scores round to float32 when scaled: a share of power / 2^24.
    scaled = score_weights((scores.double() * scale).float(), power)
    torch.testing.assert_close(scaled, weights, atol=1e-4, rtol=0)


def test_who_scores_nothing_counts_nothing_and_nobody_means_everybody() -> None:
    scores = torch.tensor([[0.0, 0.0], [1e-38, 0.0], [3e-38, 0.0]])
    expected = np.array([[0, 1 / 3], [0.25, 1 / 3], [0.75, 1 / 3]])
    np.testing.assert_allclose(score_weights(scores).numpy(), expected, atol=1e-6)
