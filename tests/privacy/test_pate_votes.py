"""PATE: the noisy vote, and the theorem behind what it costs."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fedkd.privacy.curves import curve, orders
from fedkd.privacy.pate import answer_cost, confident_gnmax, log_miss, votes_cost


def test_noisy_winners_are_as_frequent_as_they_should_be():
    votes, sigma = torch.tensor([[7, 5]]).expand(200_000, 2), 2.0
    winners, answered = confident_gnmax(votes, 8.0, 3.0, sigma, torch.Generator().manual_seed(0))
    wrong = norm.sf(2 / (2**0.5 * sigma))
    share = winners.double().mean().item()
    assert share == pytest.approx(wrong, abs=4 * (wrong / 200_000) ** 0.5)
    told = norm.sf((8 - 7) / 3.0)
    assert answered.double().mean().item() == pytest.approx(told, abs=0.005)
    assert math.exp(log_miss(np.array([7, 5]), sigma)) == pytest.approx(wrong)


def test_the_miss_is_a_bound_for_more_classes():
    votes, sigma = torch.tensor([[10, 6, 4, 0]]).expand(100_000, 4), 3.0
    winners, _ = confident_gnmax(votes, 0.0, 1.0, sigma, torch.Generator().manual_seed(1))
    assert (winners != 0).double().mean().item() <= math.exp(log_miss(votes[0].numpy(), sigma))


def test_theorem_6_by_hand():
    """Every quantity of the theorem, worked out for q = e^-20, sigma = 5, alpha = 3."""
    logq, sigma, alpha = -20.0, 5.0, 3.0
    m2 = 5 * 20**0.5  # 22.36
    m1, e1, e2 = m2 + 1, (m2 + 1) / 25, m2 / 25
    q = math.exp(-20)
    assert q <= math.exp((m2 - 1) * e2) / (m1 / (m1 - 1) * m2 / (m2 - 1)) ** m2
    a = (1 - q) / (1 - (q * math.exp(e2)) ** ((m2 - 1) / m2))
    b = math.exp(e1) / q ** (1 / (m1 - 1))
    wanted = math.log((1 - q) * a**2 + q * b**2) / 2
    found = answer_cost(logq, sigma, np.array([alpha]))[0]
    assert found == pytest.approx(wanted, rel=1e-9)
    assert found < alpha / sigma**2 / 1e6


def half_erfc(x):
    """Return ``erfc(x) / 2`` for x > 1 to 60 digits, by Laplace's continued fraction."""
    tail = x
    for k in range(400, 0, -1):
        tail = x + Decimal(k) / 2 / tail
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
    return (-x * x).exp() / (2 * pi.sqrt() * tail)


def theorem_6(gap, sigma, alpha):
    """Return ln q of two classes and the bound, in Papernot et al.'s own letters."""
    s, a = Decimal(sigma), Decimal(alpha)
    q = half_erfc(Decimal(gap) / (2 * s))
    m2 = s * (-q.ln()).sqrt()
    m1 = m2 + 1
    e1, e2 = m1 / s**2, m2 / s**2
    assert a <= m1
    assert q <= ((m2 - 1) * e2).exp() / (m1 / (m1 - 1) * m2 / (m2 - 1)) ** m2
    big_a = (1 - q) / (1 - (q * e2.exp()) ** ((m2 - 1) / m2))
    big_b = e1.exp() / q ** (1 / (m1 - 1))
    return q.ln(), ((1 - q) * big_a ** (a - 1) + q * big_b ** (a - 1)).ln() / (a - 1)


@pytest.mark.parametrize(
    ("gap", "sigma", "alpha"), [(20, 2.0, 3), (54, 1.0, 2), (54, 1.0, 8), (60, 5.0, 4)]
)
def test_clear_votes_cost_what_the_theorem_says_to_many_digits(gap, sigma, alpha):
    with localcontext() as context:
        context.prec, context.Emin = 800, -(10**6)  # of 1 - q, too
        logq, cost = theorem_6(gap, sigma, alpha)
    found = log_miss(np.array([gap, 0]), sigma)
    assert found == pytest.approx(float(logq), rel=1e-12)
    assert answer_cost(found, sigma, np.array([float(alpha)]))[0] == pytest.approx(
        float(cost), rel=1e-9, abs=0
    )


@pytest.mark.parametrize("sigma", [0.5, 1.0, 7.0, 40.0])
def test_no_vote_is_so_clear_that_its_answer_is_free(sigma):
    some = np.array([1.5, 2.0, 8.0, 64.0])
    votes = [np.array([gap, 0, 0]) for gap in range(0, 3000, 6)]
    costs = np.array([answer_cost(log_miss(vote, sigma), sigma, some) for vote in votes])
    assert (costs > 0).all()
    assert (np.diff(costs, axis=0) <= 0).all()
    assert (answer_cost(-math.inf, sigma, some) > 0).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=12), st.floats(0.5, 40.0))
def test_the_data_dependent_bound_is_never_above_the_other(counts, sigma):
    found = answer_cost(log_miss(np.array(counts), sigma), sigma, orders())
    assert (found <= orders() / sigma**2 + 1e-12).all()
    assert (found >= 0).all()


def test_a_clearer_vote_costs_less():
    costs = [
        answer_cost(log_miss(np.array([50 + gap, 50 - gap]), 10.0), 10.0, np.array([4.0]))[0]
        for gap in range(0, 50, 5)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0] / 100


def test_a_round_costs_its_answers_and_all_its_comparisons():
    counts = np.array([[5, 5], [5, 5], [9, 1]])
    answered = np.array([True, False, False])
    found = votes_cost(counts, answered, 4.0, 3.0, orders())
    assert found == pytest.approx(3 * orders() / 32 + orders() / 9)


def test_the_data_independent_cost_is_a_gaussian_of_sensitivity_root_two():
    sigma = 6.0
    assert curve("gaussian", sigma / 2**0.5) == pytest.approx(orders() / sigma**2)
