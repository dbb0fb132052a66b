"""ROC, AUC, TPR at low FPR and membership scores: by hand, and what must hold for all scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fedkd.privacy.membership import likelihood_ratio, logit_confidence, pairwise_ratio
from fedkd.privacy.scores import auc, clopper_pearson, resolves, roc, tpr_at_fpr

numbers = st.lists(st.integers(-50, 50), min_size=1, max_size=30).map(lambda v: np.array(v, float))


def test_auc_by_hand():
    # Pairs won: 3 > 1, 3 > 2, 2 > 1; the tie 2 = 2 counts half.
    assert auc([3.0, 2.0], [1.0, 2.0]).value == 3.5 / 4


def test_delong_by_hand():
    found = auc([3.0, 2.0], [1.0, 2.0])
    # Below each member: 1, 3/4 of the others; above each other: 1, 3/4 of the members.
    variance = 2 * (np.var([1, 0.75], ddof=1) / 2)
    logit, reach = np.log(7), norm.ppf(0.975) * np.sqrt(variance) / (7 / 64)
    assert found.low == pytest.approx(1 / (1 + np.exp(-(logit - reach))))
    assert found.high == pytest.approx(1 / (1 + np.exp(-(logit + reach))))


@given(numbers, numbers)
@settings(deadline=None)
def test_auc_is_symmetric_and_blind_to_monotone_maps(x, y):
    found = auc(x, y)
    assert 0 <= found.low <= found.value + 1e-12 <= found.high + 2e-12 <= 1 + 2e-12
    assert auc(y, x).value == pytest.approx(1 - found.value)
    moved = auc(np.exp(x / 20) - 3, np.exp(y / 20) - 3)
    assert (moved.value, moved.low) == pytest.approx((found.value, found.low))
    assert auc(np.zeros(len(x)), np.zeros(len(y))).value == 0.5


@given(numbers, numbers, st.sampled_from([0.0, 0.01, 0.1, 0.3]))
@settings(deadline=None)
def test_tpr_keeps_to_the_false_positive_rate(x, y, rate):
    found = tpr_at_fpr(x, y, rate)
    false, true = roc(x, y)
    assert found.value == pytest.approx(true[false <= rate + 1e-9].max())
    assert tpr_at_fpr(2 * x + 7, 2 * y + 7, rate) == found


def test_tpr_and_its_resolution():
    others = np.arange(200.0)
    assert tpr_at_fpr([196.5, 198.5, 50.0, 300.0], others, 0.01).value == 0.5
    assert tpr_at_fpr([1.0, 1.0], [1.0, 1.0], 0.5).value == 0.0  # a tie accuses nobody
    assert (resolves(100, 0.01), resolves(99, 0.01)) == (True, False)


def test_intervals_cover():
    rng = np.random.default_rng(0)
    truth = norm.cdf(1 / np.sqrt(2))  # of N(1, 1) over N(0, 1)
    hits = 0
    for _ in range(300):
        found = auc(rng.normal(1, 1, 40), rng.normal(0, 1, 60))
        hits += found.low <= truth <= found.high
    assert hits / 300 > 0.92
    shares = [clopper_pearson(int(k), 30) for k in rng.binomial(30, 0.1, 300)]
    assert np.mean([one.low <= 0.1 <= one.high for one in shares]) >= 0.95


def test_clopper_pearson_by_hand():
    assert clopper_pearson(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert clopper_pearson(10, 10).low == pytest.approx(0.025**0.1)
    with pytest.raises(ValueError, match="3 hits in 2 trials"):
        clopper_pearson(3, 2)


def test_perfect_separation_is_not_certainty():
    assert auc([2.0] * 5, [1.0] * 9).low == pytest.approx(0.025**0.2)
    with pytest.raises(ValueError, match="at least one"):
        auc([], [1.0])


def test_lira_by_hand():
    out = [[0.0, 1.0], [2.0, 3.0], [4.0, np.nan]]
    assert likelihood_ratio([4.0, 4.0], out, pooled=False) == pytest.approx([2 / (8 / 3) ** 0.5, 2])
    pooled = likelihood_ratio([4.0, 4.0], out, pooled=True)
    assert pooled == pytest.approx(2 / np.sqrt((8 / 3 + 1) / 2))


def test_logit_confidence_survives_certainty():
    assert np.isfinite(logit_confidence([0.0, -1e-9, -200.0])).all()
    assert logit_confidence([np.log(0.2)])[0] == pytest.approx(np.log(0.25))


def test_rmia_by_hand():
    # p(x) = ((1 + a) * mean + 1 - a) / 2 = 0.5 for a mean of 0.5 and any a.
    found = pairwise_ratio([0.6, 0.2], [[0.5, 0.4], [0.5, 0.6]], [0.5, 0.1], [[0.5, 0.5]], a=0.3)
    assert found == pytest.approx([1.0, 0.5])
    strict = pairwise_ratio([0.6], [[0.5]], [0.5, 0.1], [[0.5, 0.5]], gamma=2.0)
    assert strict == pytest.approx([0.5])


def test_lira_finds_members_that_are_easy_for_everybody():
    # Sample 0 is easy for all; only sample 1 is surer than out-models are. Loss prefers the first.
    phi, out = np.array([5.0, 3.0]), np.array([[5.1, 0.0], [4.9, 0.2], [5.0, -0.2]])
    scores = likelihood_ratio(phi, out)
    assert scores[1] > scores[0]
