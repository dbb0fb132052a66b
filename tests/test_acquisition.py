"""The maths of active learning against hand-computed values, naive forms and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedkd.maths.acquisition import (
    discrepancy,
    entropy,
    least_confidence,
    margin,
    rank_fusion,
    ranking,
)
from fedkd.maths.picking import gradient_seeds, k_centre, residuals, squares_from
from fedkd.rng import torch_generator

seeds = st.integers(0, 10_000)
quick = settings(max_examples=25, deadline=None)
taus = st.sampled_from([0.0, 0.3, 1.0, 2.5])


def normal(seed: int, *shape: int, scale: float = 2.0) -> Tensor:
    values = np.random.default_rng(seed).normal(0, scale, shape)
    return torch.tensor(values, dtype=torch.float64)


def positive_counts(seed: int, classes: int) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).integers(1, 300, classes))


def published(f: Tensor, g: Tensor, n: Tensor, tau: float = 1.0) -> Tensor:
    """Two KL divergences of posteriors with the prior inside, as the official code has them."""
    p, q = f + tau * n.double().log(), g + tau * n.double().log()

    def kl(of: Tensor, to: Tensor) -> Tensor:
        return F.kl_div(to.log_softmax(-1), of.softmax(-1), reduction="none").sum(-1)

    return (kl(p, q) + kl(q, p)) / 2


# Uncertainty of probabilities


def test_uncertainties_by_hand() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], dtype=torch.float64)
    assert least_confidence(p).tolist() == [0.5, 0.0]
    assert margin(p).tolist() == [0.25, 1.0]
    assert entropy(p).tolist() == pytest.approx([1.5 * math.log(2), 0.0])


@quick
@given(seeds)
def test_of_two_classes_all_uncertainties_agree(seed: int) -> None:
    p = normal(seed, 12, 2).softmax(-1)
    order = least_confidence(p).argsort().tolist()
    assert entropy(p).argsort().tolist() == order
    assert (-margin(p)).argsort().tolist() == order


def test_the_three_uncertainties_differ_on_three_classes() -> None:
    p = torch.tensor([[0.50, 0.49, 0.01], [0.45, 0.30, 0.25], [0.40, 0.35, 0.25]])
    assert margin(p).argmin() == 0
    assert least_confidence(p).argmax() == 2
    assert entropy(p).argsort(descending=True).tolist() == [2, 1, 0]


# KSAS


def test_discrepancy_by_hand() -> None:
    """P = (3/4, 1/4), Q = (1/2, 1/2): D = (P - Q)(f - g) / 2 = log(3) / 8."""
    f, g = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    d = discrepancy(f, g, torch.tensor([5, 5]))
    assert d.item() == pytest.approx(math.log(3) / 8, abs=1e-7)
    # n = (1, 3): P = (3/6, 3/6), Q = (1/4, 3/4), the same product
    assert discrepancy(f, g, torch.tensor([1, 3])).item() == pytest.approx(math.log(3) / 8)
    # n = (3, 1): P = (9/10, 1/10), Q = (3/4, 1/4)
    other = discrepancy(f, g, torch.tensor([3, 1])).item()
    assert other == pytest.approx(0.15 * math.log(3) / 2)


@quick
@given(seeds, st.integers(2, 8), taus)
def test_closed_form_is_the_naive_kl_where_all_classes_have_labels(
    seed: int, classes: int, tau: float
) -> None:
    f, g = normal(seed, 9, classes), normal(seed + 1, 9, classes)
    n = positive_counts(seed, classes)
    expected = published(f, g, n, tau)
    torch.testing.assert_close(discrepancy(f, g, n, tau), expected, rtol=1e-9, atol=1e-12)


@quick
@given(seeds, st.sampled_from([2, 7, 1000]))
def test_scaling_the_counts_changes_nothing(seed: int, factor: int) -> None:
    f, g, n = normal(seed, 9, 4), normal(seed + 1, 9, 4), positive_counts(seed, 4)
    n[seed % 4] = 0
    torch.testing.assert_close(discrepancy(f, g, n * factor), discrepancy(f, g, n))


@quick
@given(seeds, st.floats(-50, 50))
def test_a_constant_added_to_logits_changes_nothing(seed: int, shift: float) -> None:
    f, g, n = normal(seed, 9, 4), normal(seed + 1, 9, 4), positive_counts(seed, 4)
    moved = discrepancy(f + shift, g, n)
    torch.testing.assert_close(moved, discrepancy(f, g, n), rtol=1e-9, atol=1e-12)


def test_rounding_makes_no_discrepancy_negative() -> None:
    f, n = normal(0, 500, 6), positive_counts(0, 6)
    d = discrepancy(f + 10.0, f, n)  # the same posteriors, up to rounding
    assert bool((d >= 0).all())
    assert d.max() < 1e-12


@quick
@given(seeds, taus, st.sampled_from([0.0, 0.5]))
def test_discrepancy_is_a_symmetric_divergence(seed: int, tau: float, eps: float) -> None:
    f, g = normal(seed, 9, 5, scale=8), normal(seed + 1, 9, 5, scale=8)
    n = torch.tensor(np.random.default_rng(seed).integers(0, 3, 5))
    d = discrepancy(f, g, n, tau, eps)
    assert bool((d >= 0).all())
    assert bool(d.isfinite().all())
    torch.testing.assert_close(discrepancy(g, f, n, tau, eps), d)
    assert discrepancy(f, f, n, tau, eps).tolist() == [0.0] * 9


@quick
@given(seeds, st.integers(1, 4))
def test_zero_counts_rank_like_the_masked_reference(seed: int, absent: int) -> None:
    """Classes without labels left out altogether, then the naive divergences."""
    f, g, n = normal(seed, 20, 6), normal(seed + 1, 20, 6), positive_counts(seed, 6)
    gone = np.random.default_rng(seed).choice(6, absent, replace=False)
    n[gone] = 0
    reference = published(f[:, n > 0], g[:, n > 0], n[n > 0])
    d = discrepancy(f, g, n)
    torch.testing.assert_close(d, reference, rtol=1e-9, atol=1e-12)
    assert d.argsort().tolist() == reference.argsort().tolist()


def test_zero_count_trap_of_the_published_expression() -> None:
    """One class without labels: the published expression is NaN for every sample, ours never."""
    f, g, n = normal(0, 50, 4), normal(1, 50, 4), torch.tensor([9, 0, 3, 1])
    assert bool(published(f, g, n).isnan().all())
    d = discrepancy(f, g, n)
    assert bool(d.isfinite().all())
    assert len(d.unique()) == 50  # a ranking, not an arbitrary slice
    changed = f.clone()
    changed[:, 1] += 5.0  # the class without labels contributes exactly 0
    assert discrepancy(changed, g, n).tolist() == d.tolist()


def test_one_labelled_class_or_none_scores_exactly_zero() -> None:
    f, g = normal(0, 9, 4), normal(1, 9, 4)
    for counts in ([0, 7, 0, 0], [0, 0, 0, 0]):
        assert discrepancy(f, g, torch.tensor(counts)).tolist() == [0.0] * 9


def test_without_a_prior_classes_without_labels_contribute() -> None:
    f, g = normal(0, 9, 4), normal(1, 9, 4)
    plain = published(f, g, torch.ones(4))
    for counts in ([1, 1, 1, 1], [0, 7, 0, 2], [0, 0, 0, 0]):
        torch.testing.assert_close(discrepancy(f, g, torch.tensor(counts), tau=0.0), plain)


def test_prior_smoothing_lets_undiscovered_classes_contribute() -> None:
    f, g, n = normal(0, 9, 4), normal(1, 9, 4), torch.tensor([9, 0, 3, 1])
    torch.testing.assert_close(discrepancy(f, g, n, prior_eps=0.5), published(f, g, n + 0.5))
    tiny = discrepancy(f, g, n, prior_eps=1e-12)
    torch.testing.assert_close(tiny, discrepancy(f, g, n), rtol=1e-6, atol=1e-8)


@quick
@given(seeds)
def test_scores_move_with_samples_and_stay_with_classes(seed: int) -> None:
    f, g, n = normal(seed, 9, 5), normal(seed + 1, 9, 5), positive_counts(seed, 5)
    rng = np.random.default_rng(seed)
    rows, columns = torch.tensor(rng.permutation(9)), torch.tensor(rng.permutation(5))
    d = discrepancy(f, g, n)
    torch.testing.assert_close(discrepancy(f[rows], g[rows], n), d[rows])
    torch.testing.assert_close(discrepancy(f[:, columns], g[:, columns], n[columns]), d)
    for score in (least_confidence, margin, entropy):
        p = f.softmax(-1)
        torch.testing.assert_close(score(p[rows]), score(p)[rows])
        torch.testing.assert_close(score(p[:, columns]), score(p))


# Rankings


def test_equal_scores_are_in_random_order_by_the_seed() -> None:
    scores = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 2.0])
    orders = {tuple(ranking(scores, torch_generator(seed)).tolist()) for seed in range(30)}
    assert {order[:2] for order in orders} == {(5, 0)}
    assert len({order[2] for order in orders}) == 4
    assert ranking(scores, torch_generator(3)).equal(ranking(scores, torch_generator(3)))


@quick
@given(st.lists(st.floats(allow_nan=False), max_size=20), seeds)
def test_ranking_sorts(scores: list[float], seed: int) -> None:
    order = ranking(torch.tensor(scores, dtype=torch.float64), torch_generator(seed)).tolist()
    assert sorted(order) == list(range(len(scores)))
    assert [scores[i] for i in order] == sorted(scores, reverse=True)


def test_nan_never_becomes_an_order() -> None:
    with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
        ranking(torch.tensor([0.0, math.nan, 1.0]), torch_generator(0))


def test_rank_fusion_by_hand() -> None:
    """Ranks (0, 1, 2) and (1, 1, 0): the tied two share rank 1; of the lists' top 1, 2 count."""
    lists = [torch.tensor([9.0, 5.0, 1.0]), torch.tensor([0.1, 0.1, 0.2])]
    by_hand = {
        None: [1 / 20 + 1 / 21, 1 / 21 + 1 / 21, 1 / 22 + 1 / 20],
        2: [1 / 20 + 1 / 21, 1 / 21 + 1 / 21, 1 / 20],
        1: [1 / 20, 0.0, 1 / 20],
    }
    for top, expected in by_hand.items():
        assert rank_fusion(lists, top).tolist() == pytest.approx(expected, abs=1e-15)


@quick
@given(seeds)
def test_rank_fusion_knows_no_scale_and_no_order_of_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (torch.tensor(rng.integers(0, 6, 12)).double() for _ in range(2))
    rows = torch.tensor(rng.permutation(12))
    fused = rank_fusion([first, second])
    assert rank_fusion([first * 1000, second.exp()]).equal(fused)
    assert rank_fusion([first[rows], second[rows]]).equal(fused[rows])
    assert rank_fusion([second, first]).equal(fused)


# k-centre


def test_k_centre_by_hand() -> None:
    line = torch.tensor([[1.0], [5.0], [11.0], [12.0]])
    assert k_centre(line, torch.tensor([[0.0]]), 4, torch_generator(0)).tolist() == [3, 1, 0, 2]
    # 12 is 1 from the labelled 13, so 5 (5 from 0) is the farthest, then 1 (1), 12 (1), 11 (2)
    labelled = torch.tensor([[0.0], [13.0]])
    assert k_centre(line, labelled, 2, torch_generator(0)).tolist() == [1, 2]


@quick
@given(seeds, st.integers(1, 9), st.integers(0, 4))
def test_k_centre_equals_brute_force(seed: int, picks: int, labelled: int) -> None:
    x, centres = normal(seed, 9, 3), normal(seed + 1, labelled, 3)
    picked = k_centre(x, centres, picks, torch_generator(seed)).tolist()
    assert len(set(picked)) == picks
    for place in range(0 if labelled else 1, picks):
        covered = [*centres, *(x[i] for i in picked[:place])]
        reach = {
            i: min(math.dist(x[i], c) for c in covered) for i in range(9) if i not in picked[:place]
        }
        assert reach[picked[place]] == pytest.approx(max(reach.values()), rel=1e-12)


def test_k_centre_covers_at_most_twice_as_badly_as_the_best() -> None:
    """The guarantee of the greedy rule, against all choices."""
    x, start = normal(5, 9, 2), normal(6, 1, 2)

    def radius(chosen: tuple[int, ...]) -> float:
        return torch.cdist(x, torch.cat([start, x[list(chosen)]])).amin(1).max().item()

    greedy = radius(tuple(k_centre(x, start, 3, torch_generator(0)).tolist()))
    assert greedy <= 2 * min(map(radius, itertools.combinations(range(9), 3)))


def test_k_centre_without_centres_begins_at_random() -> None:
    x, none = torch.arange(5.0)[:, None], torch.zeros(0, 1)
    assert {int(k_centre(x, none, 1, torch_generator(s))[0]) for s in range(40)} == set(range(5))


def test_k_centre_of_equal_points_never_picks_twice() -> None:
    x = torch.ones(6, 3)
    assert sorted(k_centre(x, x[:2], 6, torch_generator(0)).tolist()) == list(range(6))


def test_many_centres_in_blocks_equal_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, centres = normal(0, 30, 4), normal(1, 12, 4)
    whole = k_centre(x, centres, 8, torch_generator(0))
    monkeypatch.setattr("fedkd.maths.picking._BLOCK", 50)
    assert k_centre(x, centres, 8, torch_generator(0)).equal(whole)


# BADGE


def materialised(r: Tensor, h: Tensor) -> Tensor:
    return (r[:, :, None] * h[:, None, :]).flatten(1)


def test_residuals_are_gradients_of_cross_entropy() -> None:
    z = normal(0, 7, 4).requires_grad_()
    F.cross_entropy(z, z.argmax(-1), reduction="sum").backward()
    assert z.grad is not None
    torch.testing.assert_close(residuals(z.detach()), z.grad)


@quick
@given(seeds, st.integers(1, 2))
def test_factored_distances_equal_materialised_ones(seed: int, models: int) -> None:
    factors = [
        (residuals(normal(seed + k, 8, 4)), normal(seed + 9 + k, 8, 5)) for k in range(models)
    ]
    g = torch.cat([materialised(r, h) for r, h in factors], dim=1)
    norms = g.square().sum(1)
    for row in range(8):
        direct = (g - g[row]).square().sum(1)
        torch.testing.assert_close(squares_from(factors, norms, row), direct, rtol=1e-9, atol=1e-9)
        assert squares_from(factors, norms, row)[row] == 0


@quick
@given(seeds)
def test_first_seed_has_the_largest_norm(seed: int) -> None:
    r, h = residuals(normal(seed, 12, 4)), normal(seed + 1, 12, 5)
    picked = gradient_seeds([(r, h)], 5, torch_generator(seed)).tolist()
    assert picked[0] == materialised(r, h).norm(dim=1).argmax().item()
    assert len(set(picked)) == 5


def test_second_seed_is_drawn_by_squared_distance() -> None:
    """Distances 1, 2, 3 and 0 from the first pick: chances 1/14, 4/14, 9/14 and 0."""
    r, h = torch.ones(5, 1), torch.tensor([[10.0], [9.0], [8.0], [7.0], [10.0]])
    generator = torch_generator(0)
    picks = [gradient_seeds([(r, h)], 2, generator).tolist() for _ in range(3000)]
    assert {pick[0] for pick in picks} == {0, 4}  # of equals a random one
    seconds = np.bincount([pick[1] for pick in picks], minlength=5) / 3000
    assert seconds.tolist() == pytest.approx([0, 1 / 14, 4 / 14, 9 / 14, 0], abs=0.03)


def test_seeds_without_any_difference_are_random_and_distinct() -> None:
    for r in (torch.zeros(6, 2), torch.full((6, 2), 0.3)):
        runs = {
            tuple(gradient_seeds([(r, torch.ones(6, 3))], 6, torch_generator(s)).tolist())
            for s in range(20)
        }
        assert all(sorted(run) == list(range(6)) for run in runs)
        assert len(runs) > 10


def test_all_that_differs_is_picked_before_a_duplicate() -> None:
    r, h = normal(0, 4, 3).repeat(5, 1), normal(1, 4, 6).repeat(5, 1)
    for seed in range(20):
        picked = gradient_seeds([(r, h)], 4, torch_generator(seed))
        assert sorted((picked % 4).tolist()) == [0, 1, 2, 3]
