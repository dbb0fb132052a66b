"""Noise is distributed as it says, releases are bounded as they say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from fedkd.privacy.mechanisms import clipped, noisy, projected, renormalised, sensitivity
from fedkd.privacy.noise import laplace, normal, uniform

DRAWS = 300_000
DISTRIBUTIONS = {
    "uniform": (uniform, stats.uniform()),
    "normal": (normal, stats.norm()),
    "laplace": (laplace, stats.laplace()),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_follow_their_distribution(name, seed):
    draw, wanted = DISTRIBUTIONS[name]
    found = draw((DRAWS,), seeded(seed)).numpy()
    assert stats.kstest(found, wanted.cdf).pvalue > 0.01
    assert np.abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / DRAWS**0.5


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_test_would_notice_another_scale(name):
    draw, wanted = DISTRIBUTIONS[name]
    found = draw((DRAWS,), seeded()).numpy() * 1.02
    assert stats.kstest(found, wanted.cdf).pvalue < 1e-4


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_operating_system_draws_from_it_too(name):
    draw, wanted = DISTRIBUTIONS[name]
    found = draw((100_000,), None).numpy()
    # not seeded: a false alarm in a billion runs
    assert stats.kstest(found, wanted.cdf).pvalue > 1e-9
    assert not torch.equal(draw((8,), None), draw((8,), None))


@pytest.mark.parametrize(("norm", "law"), [(2, stats.norm), (1, stats.laplace)])
@pytest.mark.parametrize("clip", [0.5, 3.0])
def test_noise_on_logits_has_the_stated_scale(norm, law, clip):
    rows, classes, multiplier = 4000, 25, 0.7
    values = torch.randn(rows, classes, generator=seeded(1))
    release = noisy(values, "logits", multiplier, clip, norm, seeded(2)).double()
    noise = (release - clipped(values.double(), clip, norm)).flatten().numpy()
    scale = multiplier * 2 * clip * (rows if norm == 1 else rows**0.5)
    assert stats.kstest(noise / scale, law.cdf).pvalue > 0.01


@pytest.mark.parametrize(("norm", "law"), [(2, stats.norm), (1, stats.laplace)])
def test_noise_on_soft_labels_has_the_stated_scale(norm, law, monkeypatch):
    monkeypatch.setattr("fedkd.privacy.mechanisms.projected", lambda values: values)
    rows, classes, multiplier = 4000, 25, 0.7
    values = torch.randn(rows, classes, generator=seeded(1)).softmax(dim=-1)
    release = noisy(values, "soft_labels", multiplier, None, norm, seeded(2)).double()
    scale = multiplier * (2 * rows if norm == 1 else (2 * rows) ** 0.5)
    noise = (release - values.double()).flatten().numpy()
    assert stats.kstest(noise / scale, law.cdf).pvalue > 0.01


ROWS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(2, 8)), elements=st.floats(-50, 50)
)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.sampled_from([1, 2]), st.floats(0.05, 5.0))
def test_nothing_that_a_client_does_moves_a_release_further_than_its_sensitivity(
    first, second, norm, clip
):
    shape = [min(sizes) for sizes in zip(first.shape, second.shape, strict=True)]
    pair = [torch.from_numpy(values[: shape[0], : shape[1]].copy()) for values in (first, second)]
    one, two = (clipped(values, clip, norm) for values in pair)
    moved = torch.linalg.vector_norm(one - two, ord=norm)
    assert moved <= sensitivity("logits", shape[0], clip, norm) + 1e-9
    soft = [values.softmax(dim=-1) for values in pair]
    moved = torch.linalg.vector_norm(soft[0] - soft[1], ord=norm)
    assert moved <= sensitivity("soft_labels", shape[0], None, norm) + 1e-9
    one, two = (clipped(values - 1 / shape[1], clip, norm) for values in soft)
    moved = torch.linalg.vector_norm(one - two, ord=norm)
    assert moved <= sensitivity("soft_labels", shape[0], clip, norm) + 1e-9


def test_the_sensitivity_of_soft_labels_is_reached():
    one, two = torch.eye(3)[[0, 1]], torch.eye(3)[[1, 2]]
    for norm in (1, 2):
        moved = torch.linalg.vector_norm(one - two, ord=norm).item()
        assert moved == pytest.approx(sensitivity("soft_labels", 2, None, norm))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_repaired_rows_are_on_the_simplex_and_those_on_it_stay(values):
    for repair in (projected, renormalised):
        found = repair(torch.from_numpy(values))
        assert (found >= 0).all()
        assert torch.allclose(found.sum(dim=-1), torch.ones(len(found), dtype=found.dtype))
        assert torch.allclose(repair(found), found)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 2**31))
def test_no_other_row_of_the_simplex_is_nearer_than_the_projection(values, seed):
    rows = torch.from_numpy(values)
    other = torch.randn(rows.shape, generator=seeded(seed)).double().softmax(dim=-1)
    nearest = (rows - projected(rows)).norm(dim=-1)
    assert (nearest <= (rows - other).norm(dim=-1) + 1e-9).all()


def test_noise_is_the_same_for_the_same_stream_and_no_other():
    values = torch.full((5, 4), 0.25)
    how = values, "soft_labels", 0.01, None, 2
    assert torch.equal(noisy(*how, seeded(1)), noisy(*how, seeded(1)))
    assert not torch.equal(noisy(*how, seeded(1)), noisy(*how, seeded(2)))
    assert not torch.equal(noisy(*how, None), noisy(*how, None))
