"""The tensor maths of fusion against values worked out by hand, and its invariants."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.errors import ConfigError
from fedkd.maths import mixing
from fedkd.maths.divergences import DIVERGENCES

seeds = st.integers(0, 10_000)
KINDS = sorted(DIVERGENCES)


def simplex(seed: int, *shape: int, alpha: float = 0.3) -> torch.Tensor:
    """Random distributions with some exact zeros, as float32."""
    p = np.random.default_rng(seed).dirichlet(np.full(shape[-1], alpha), shape[:-1])
    p[p < 1e-3] = 0
    return torch.tensor(p / p.sum(-1, keepdims=True), dtype=torch.float32)


def test_mix_by_hand() -> None:
    values = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    expected = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]]])
    assert torch.equal(mixing.mix(weights, values), expected)
    mixed = mixing.mix(weights.double(), values.half())
    assert mixed.dtype == torch.float32


@settings(max_examples=25, deadline=None)
@given(seed=seeds, n=st.integers(1, 6))
def test_mix_stays_on_the_simplex_and_follows_permutations(seed: int, n: int) -> None:
    values, weights = simplex(seed, n, 7, 4), simplex(seed + 1, n, n)
    mixed = mixing.mix(weights, values)
    assert mixing.simplex_error(mixed) < 1e-6
    assert torch.equal(mixed, mixing.mix(weights, values))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    permuted = mixing.mix(weights[order][:, order], values[order])
    torch.testing.assert_close(permuted, mixed[order])
    torch.testing.assert_close(mixing.mix(torch.eye(n), values), values)


def test_epd() -> None:
    p = torch.tensor([[[0.6, 0.4, 0.0], [0.2, 0.3, 0.5], [0.1, 0.0, 0.9]]])
    torch.testing.assert_close(mixing.epd(p), torch.tensor([[0.3, 0.7 / 3, 1.4 / 3]]))
    histogram = mixing.epd(p, "histogram")
    torch.testing.assert_close(histogram, torch.tensor([[1 / 3, 0, 2 / 3]]))
    with pytest.raises(ConfigError, match="did you mean 'histogram'"):
        mixing.epd(p, "histgram")


def test_divergences_by_hand() -> None:
    p, q = torch.tensor([[0.5, 0.5]]).double(), torch.tensor([[0.75, 0.25]]).double()
    kl = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    back = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    js = 0.5 * (0.5 * math.log(0.5 / 0.625) + 0.5 * math.log(0.5 / 0.375))
    js += 0.5 * (0.75 * math.log(0.75 / 0.625) + 0.25 * math.log(0.25 / 0.375))
    expected = {
        "kl": kl,
        "reverse_kl": back,
        "js": js,
        "l2": math.sqrt(0.125),
        "cosine": 1 - 0.5 / math.sqrt(0.5 * 0.625),
    }
    assert set(expected) == set(KINDS)
    for kind, value in expected.items():
        assert mixing.divergence(p, q, kind).item() == pytest.approx(value), kind


@settings(max_examples=25, deadline=None)
@given(seed=seeds, n=st.integers(1, 7))
@pytest.mark.parametrize("kind", KINDS)
def test_divergence_invariants(kind: str, seed: int, n: int) -> None:
    p = simplex(seed, n, 5)
    d = mixing.divergence(p, kind=kind)
    assert d.dtype == p.dtype
    assert d.isfinite().all()
    assert (d >= 0).all()
    assert not d.diagonal().any()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mixing.divergence(p[order], kind=kind), d[order][:, order])
    torch.testing.assert_close(mixing.divergence(p[:1], p, kind)[0, 1:], d[0, 1:])
    if kind in ("js", "l2", "cosine"):
        torch.testing.assert_close(d, d.T)
    bound = {"js": math.log(2), "l2": math.sqrt(2), "cosine": 1.0}.get(kind, 27.7)
    assert d.max() <= bound + 1e-6


def test_kl_directions_and_extremes() -> None:
    p = simplex(1, 6, 5)
    kl, back = (mixing.divergence(p, kind=kind) for kind in ("kl", "reverse_kl"))
    assert torch.equal(kl, back.T)
    corners = mixing.divergence(torch.eye(3).double(), kind="kl")
    assert corners[0, 1].item() == pytest.approx(-math.log(mixing.EPS))
    torch.testing.assert_close(
        mixing.divergence(torch.eye(2), kind="js")[0, 1].exp(), torch.tensor(2.0)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_identical_clients_are_at_distance_zero(kind: str) -> None:
    p = simplex(2, 1, 10).expand(4, 10)
    torch.testing.assert_close(mixing.divergence(p, kind=kind), torch.zeros(4, 4))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    p = simplex(3, 9, 5)
    whole = mixing.divergence(p)
    monkeypatch.setattr("fedkd.maths.divergences._PAIRS", 100)
    assert torch.equal(mixing.divergence(p), whole)


def test_unknown_divergence() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        mixing.divergence(simplex(1, 2, 3), kind="cosin")


def test_effective_neighbours() -> None:
    weights = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert mixing.effective_neighbours(weights).tolist() == [1, 4, 2]


@settings(max_examples=25, deadline=None)
@given(seed=seeds, k=st.integers(1, 9))
def test_top_k_keeps_the_largest(seed: int, k: int) -> None:
    weights = simplex(seed, 4, 6, alpha=2)
    kept = mixing.top_k(weights, k)
    assert mixing.simplex_error(kept) < 1e-6
    assert ((kept > 0).sum(-1) <= k).all()
    assert torch.equal(kept.argmax(-1), weights.argmax(-1))
    if k >= 6:
        torch.testing.assert_close(kept, weights)


def test_top_k_breaks_ties_by_order() -> None:
    uniform = torch.full((1, 4), 0.25)
    assert mixing.top_k(uniform, 2).tolist() == [[0.5, 0.5, 0, 0]]
    with pytest.raises(ConfigError, match="at least 1"):
        mixing.top_k(uniform, 0)


def test_sharpen_era_is_a_softmax_of_probabilities() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1]])
    expected = torch.tensor([[7.0, 2.0, 1.0]]).softmax(-1)
    torch.testing.assert_close(mixing.sharpen_era(p, 0.1), expected)
    assert mixing.entropy(mixing.sharpen_era(p, 0.1)) < mixing.entropy(p)
    assert mixing.entropy(mixing.sharpen_era(p, 1.0)) > mixing.entropy(p)
    with pytest.raises(ConfigError, match="temperature"):
        mixing.sharpen_era(p, 0.0)


def test_entropy() -> None:
    p = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0]])
    torch.testing.assert_close(mixing.entropy(p), torch.tensor([math.log(4), 0.0]))


def test_simplex_error() -> None:
    assert mixing.simplex_error(torch.eye(3)) == 0
    assert mixing.simplex_error(torch.zeros(0, 3)) == 0
    assert mixing.simplex_error(torch.full((2, 3), 0.5)) == 0.5
    assert mixing.simplex_error(torch.tensor([[1.5, -0.5]])) == 0.5
    for bad in (math.nan, math.inf, -math.inf):
        assert mixing.simplex_error(torch.tensor([[bad, 1.0]])) == math.inf


# Ten clients, ten classes, EPD = 0.7 Dirichlet(g) + 0.3 uniform, beta = 10:
# mean self-weight / mean effective number of fused clients.
SHARPNESS = {
    "kl": {0.1: (0.91, 1.2), 0.5: (0.84, 1.4), 1.0: (0.66, 2.3), 10.0: (0.15, 9.6)},
    "js": {0.1: (0.49, 3.3), 0.5: (0.27, 7.0), 1.0: (0.20, 8.5), 10.0: (0.11, 10.0)},
    "cosine": {0.1: (0.79, 1.6), 0.5: (0.70, 2.0), 1.0: (0.55, 3.1), 10.0: (0.14, 9.6)},
    "l2": {0.1: (0.91, 1.2), 0.5: (0.75, 1.8), 1.0: (0.61, 2.6), 10.0: (0.21, 8.6)},
}


@pytest.mark.parametrize("kind", sorted(SHARPNESS))
@pytest.mark.parametrize("g", [0.1, 0.5, 1.0, 10.0])
def test_how_sharp_beta_ten_is(kind: str, g: float) -> None:
    generator = np.random.default_rng(0)
    self_weights, neighbours = [], []
    for _ in range(200):
        true = generator.dirichlet(np.full(10, g), 10)
        weights = (-10 * mixing.divergence(torch.tensor(0.7 * true + 0.03), kind=kind)).softmax(-1)
        self_weights.append(weights.diagonal().mean().item())
        neighbours.append(mixing.effective_neighbours(weights).mean().item())
    expected_self, expected_neighbours = SHARPNESS[kind][g]
    assert np.mean(self_weights) == pytest.approx(expected_self, abs=0.05)
    assert np.mean(neighbours) == pytest.approx(expected_neighbours, rel=0.15)
