"""PATE: the noisy vote, and the theorem behind what it costs."""

import math

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
