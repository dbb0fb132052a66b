"""Lower bounds on epsilon: by hand, monotone, below the truth, and a broken mechanism is caught."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fedkd.privacy.accounting import Release, calibrate, guarantee
from fedkd.privacy.audit import (
    audit_lower_bound,
    audit_mechanism,
    audit_p_value,
    correct_guesses,
)
from fedkd.privacy.mechanisms import noisy


def test_the_bound_by_hand():
    # All of n right: (e^eps / (1 + e^eps))^n = 0.05.
    share = 0.05 ** (1 / 20)
    assert audit_lower_bound(20, 20) == pytest.approx(math.log(share / (1 - share)))
    assert audit_lower_bound(0, 10) == 0.0
    assert audit_p_value(3, 4, 0.0) == pytest.approx(5 / 16)


def test_delta_by_hand():
    # v = r = 1, eps = 0: 1/2 + 2 m delta * P[B = 0] / 1.
    assert audit_p_value(1, 1, 0.0, delta=0.1) == pytest.approx(0.5 + 2 * 0.1 * 0.5)
    tail = binom.sf(2, 4, 0.5)
    gain = max(binom.pmf(2, 4, 0.5), (binom.pmf(2, 4, 0.5) + binom.pmf(1, 4, 0.5)) / 2)
    assert audit_p_value(3, 4, 0.0, 0.001, 9) == pytest.approx(tail + 2 * 9 * 0.001 * gain)


@given(st.integers(1, 60), st.data())
@settings(deadline=None, max_examples=50)
def test_the_bound_is_monotone(guesses, data):
    correct = data.draw(st.integers(0, guesses))
    delta = data.draw(st.sampled_from([0.0, 1e-5, 1e-3]))
    bound = audit_lower_bound(correct, guesses, delta)
    assert bound >= 0
    if correct < guesses:
        assert bound <= audit_lower_bound(correct + 1, guesses, delta) + 1e-7
    assert audit_lower_bound(correct, guesses, delta, confidence=0.99) <= bound + 1e-7
    assert audit_lower_bound(correct, guesses, delta + 1e-3) <= bound + 1e-7


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_randomised_response_at_known_epsilon(epsilon):
    rng = np.random.default_rng(1)
    bounds = [
        audit_lower_bound(int(k), 1000)
        for k in rng.binomial(1000, math.exp(epsilon) / (1 + math.exp(epsilon)), 200)
    ]
    above = np.mean([bound > epsilon for bound in bounds])
    assert above <= 0.09  # 5 % are allowed
    assert np.mean(bounds) > 0.6 * epsilon


def gaussian(sigma):
    def release(values, generator):
        clipped = values / values.norm().clamp_min(1)
        return clipped + sigma * torch.randn(values.shape, generator=generator)

    return release


ABSENT, PRESENT = torch.zeros(10), torch.nn.functional.one_hot(torch.tensor(3), 10).float()


def test_a_gaussian_mechanism_is_below_its_epsilon_and_a_broken_one_is_caught():
    epsilon, delta = 1.0, 1e-5
    sigma = math.sqrt(2 * math.log(1.25 / delta)) / epsilon  # the classical calibration
    good = audit_mechanism(gaussian(sigma), ABSENT, PRESENT, delta=delta)
    broken = audit_mechanism(gaussian(sigma / 10), ABSENT, PRESENT, delta=delta)
    assert good <= epsilon
    assert broken > epsilon
    assert broken == audit_mechanism(gaussian(sigma / 10), ABSENT, PRESENT, delta=delta)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("noise", "norm"), [("gaussian", 2), ("laplace", 1)])
@pytest.mark.parametrize("kind", ["logits", "soft_labels"])
def test_shipped_mechanisms_keep_to_the_accountants_bound_and_broken_ones_are_caught(
    kind, noise, norm, epsilon
):
    delta = 1e-6
    multiplier = calibrate(lambda z: {Release(noise, z): 1}, epsilon, delta, "pld")
    upper = guarantee({Release(noise, multiplier): 1}, delta, "pld")[0]
    assert 0.99 * epsilon < upper <= epsilon
    # As far apart as the clip, or the simplex, lets two releases be: every row changes.
    one, other = torch.eye(2).unsqueeze(1).expand(2, 3, 2)
    absent, present = (one, other) if kind == "soft_labels" else (5 * one, -5 * one)

    def bound(scale):
        def release(values, generator):
            clip = 1.0 if kind == "logits" else None
            return noisy(values, kind, scale * multiplier, clip, norm, generator)

        sizes = {"canaries": 1500, "guesses": 300}
        return audit_mechanism(release, absent, present, delta=delta, **sizes)

    assert bound(1.0) <= upper
    assert bound(0.1) > upper


def test_no_noise_at_all_is_as_bad_as_can_be_told():
    found = audit_mechanism(lambda values, generator: values, ABSENT, PRESENT, canaries=400)
    assert found == pytest.approx(audit_lower_bound(40, 40, canaries=400))


def test_guesses_at_both_ends():
    scores, coins = np.array([5.0, 4, 3, 2, 1]), np.array([True, True, False, True, False])
    assert correct_guesses(scores, coins, 3) == 3
    assert correct_guesses(-scores, coins, 2) == 0


@pytest.mark.parametrize("bad", [(3, 2, 0.0), (1, 2, 1.0), (-1, 2, 0.0)])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match="delta=" if bad[2] else "correct of"):
        audit_lower_bound(*bad)
