"""Accountants agree with references; noise is calibrated as its inverse; budgets are kept."""

import math

import dp_accounting
import dp_accounting.pld
import dp_accounting.rdp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant
from scipy.stats import norm

from fedkd import ConfigError
from fedkd.privacy.accounting import (
    Fixed,
    Release,
    calibrate,
    guarantee,
    loaded,
    saved,
)
from fedkd.privacy.budget import Budget, repeated
from fedkd.privacy.curves import orders
from fedkd.privacy.ledger import Ledger
from fedkd.privacy.nfdp import affordable, guaranteed

DELTA = 1e-5


def gaussian_delta(epsilon, multiplier):
    """Balle and Wang 2018: the exact delta of the Gaussian mechanism."""
    a, b = 1 / (2 * multiplier), epsilon * multiplier
    return norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b)


@pytest.mark.parametrize(("multiplier", "times"), [(1.0, 1), (4.0, 30), (20.0, 100)])
def test_gaussian_noise_against_its_closed_forms(multiplier, times):
    history = {Release("gaussian", multiplier): times}
    exact = guarantee(history, DELTA, "pld")[0]
    assert gaussian_delta(exact, multiplier / times**0.5) == pytest.approx(DELTA, rel=1e-6)
    rdp = guarantee(history, DELTA, "rdp")[0]
    a = orders()
    curve = times * a / (2 * multiplier**2)
    wanted = min(curve + [math.log1p(-1 / x) - math.log(DELTA * x) / (x - 1) for x in a])
    assert rdp == pytest.approx(wanted, rel=1e-9)
    assert exact < rdp < 1.3 * exact


@pytest.mark.parametrize(("multiplier", "times"), [(2.0, 1), (5.0, 20)])
def test_laplace_noise_against_its_closed_form(multiplier, times):
    history = {Release("laplace", multiplier): times}
    for accountant in ("rdp", "pld"):
        assert guarantee(history, DELTA, accountant)[0] <= times / multiplier
    many = guarantee({Release("laplace", 10.0): 400}, DELTA)[0]
    assert many < 40 / 2  # the sum is no good for many
    assert guarantee({Release("laplace", 2.0): 1}, 1e-12, "pld")[0] == pytest.approx(0.5, abs=2e-3)


@pytest.mark.parametrize(
    ("multiplier", "rate", "steps"), [(1.0, 0.05, 200), (0.8, 0.25, 40), (2.0, 1.0, 12)]
)
def test_dp_sgd_against_opacus_and_dp_accounting(multiplier, rate, steps):
    history = {Release("gaussian", multiplier, rate): steps}
    reference = RDPAccountant()
    reference.history = [(multiplier, rate, steps)]
    wanted = reference.get_epsilon(DELTA, alphas=list(orders()))
    found = guarantee(history, DELTA)[0]
    assert wanted <= found <= 1.005 * wanted  # it leaves out orders that do not converge
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(multiplier))
    own = dp_accounting.rdp.RdpAccountant()
    own.compose(event, steps)
    assert found == pytest.approx(own.get_epsilon(DELTA), rel=1e-9)
    assert guarantee(history, DELTA, "pld")[0] < found


def test_mechanisms_compose():
    history = {Release("gaussian", 1.5, 0.2): 10, Release("gaussian", 5.0): 3}
    own = dp_accounting.rdp.RdpAccountant()
    sampled = dp_accounting.PoissonSampledDpEvent(0.2, dp_accounting.GaussianDpEvent(1.5))
    own.compose(sampled, 10).compose(dp_accounting.GaussianDpEvent(5.0), 3)
    both, delta = guarantee(history | {Fixed(0.25, 0.01): 1}, DELTA)
    assert both == pytest.approx(own.get_epsilon(DELTA) + 0.25)
    assert delta == pytest.approx(DELTA + 0.01)
    alone = [guarantee({cost: n}, DELTA)[0] for cost, n in history.items()]
    assert max(alone) < both - 0.25 < sum(alone)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.05, 50.0),
    st.integers(1, 100),
    st.sampled_from(["gaussian", "laplace"]),
)
def test_calibration_is_the_inverse_of_accounting(epsilon, times, noise):
    def history(multiplier):
        return {Release(noise, multiplier): times}

    found = calibrate(history, epsilon, DELTA)
    assert guarantee(history(found), DELTA)[0] <= epsilon
    assert guarantee(history(found * 0.998), DELTA)[0] > epsilon


def test_the_most_noise_there_is_may_be_just_enough():
    def history(multiplier):
        return {Release("gaussian", multiplier): 10**9}

    least = guarantee(history(1e6), DELTA)[0]
    assert calibrate(history, least, DELTA) == 1e6
    with pytest.raises(ValueError, match="no amount of noise"):
        calibrate(history, 0.999 * least, DELTA)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 20.0), st.integers(1, 50), st.floats(1.01, 3.0))
def test_more_noise_and_fewer_rounds_cost_less(multiplier, times, factor):
    spent = guarantee({Release("gaussian", multiplier): times}, DELTA)[0]
    assert guarantee({Release("gaussian", multiplier * factor): times}, DELTA)[0] < spent
    assert guarantee({Release("gaussian", multiplier): times + 1}, DELTA)[0] > spent


def test_an_epsilon_that_no_noise_reaches_is_refused():
    with pytest.raises(ConfigError, match="no amount of noise"):
        Budget(epsilon=0.4).noise(
            lambda client, z: {Release("gaussian", z): 1, Fixed(0.5, 0.1): 1}, [[0]]
        )


def test_a_history_survives_json():
    history = {Release("gaussian", 1.5, 0.2): 10, Fixed(0.1, 0.5): 1, Release("laplace", 2.0): 3}
    assert loaded(saved(history)) == history


def one_gaussian(client):
    return {Release("gaussian", 4.0): 1 + client}


def test_who_is_absent_spends_nothing():
    ledger = Ledger(one_gaussian, DELTA)
    for clients in ([0, 1], [0], []):
        ledger.charge(clients)
    assert ledger.guarantee(0) == guarantee({Release("gaussian", 4.0): 2}, DELTA)
    assert ledger.guarantee(1) == guarantee({Release("gaussian", 4.0): 2}, DELTA)
    assert ledger.guarantee(2) == (0.0, 0.0)
    assert ledger.worst() == ledger.guarantee(0)
    other = Ledger(one_gaussian, DELTA)
    other.load(ledger.save())
    assert other.histories == ledger.histories


def test_what_is_fixed_is_spent_once():
    ledger = Ledger(lambda client: {Fixed(0.5, 0.2): 1}, DELTA)
    ledger.charge([0])
    ledger.charge([0])
    assert ledger.guarantee(0) == (0.5, 0.2)
    assert repeated({Fixed(0.5, 0.2): 1}, 7) == {Fixed(0.5, 0.2): 1}


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_epsilon_is_refused(epsilon):
    Budget(epsilon=0.1).check(10)
    with pytest.raises(ConfigError, match=r"privacy\.epsilon=.*greater than 0 and finite"):
        Budget(epsilon=epsilon).check(10)


@pytest.mark.parametrize("delta", [0.0, 0.1, 0.2])
def test_a_delta_is_below_one_in_as_many_as_the_largest_client_has(delta):
    Budget(delta=0.099).check(10)
    with pytest.raises(ConfigError, match=r"privacy\.delta=.*the largest client has n=10"):
        Budget(delta=delta).check(10)


def test_a_budget_says_how_many_rounds_it_allows():
    ledger = Ledger(one_gaussian, DELTA)
    schedule = [[0], [0], [0, 1], [0]]
    costs = [guarantee({Release("gaussian", 4.0): n}, DELTA)[0] for n in range(1, 5)]
    assert ledger.affordable(schedule, costs[3]) == (4, costs[3])
    assert ledger.affordable(schedule, costs[2]) == (3, costs[3])
    assert ledger.affordable(schedule, costs[0] / 2) == (0, costs[3])
    ledger.charge([0])
    assert ledger.affordable(schedule, costs[2])[0] == 2
    stops = Budget(epsilon=costs[1], on_exhausted="stop")
    assert stops.rounds(Ledger(one_gaussian, DELTA), schedule) == 2
    with pytest.raises(ConfigError, match=r"4 rounds cost .* 2 of them keep to it"):
        Budget(epsilon=costs[1]).rounds(Ledger(one_gaussian, DELTA), schedule)
    with pytest.raises(ConfigError, match="0 of them"):
        Budget(epsilon=costs[0] / 2, on_exhausted="stop").rounds(
            Ledger(one_gaussian, DELTA), schedule
        )


def test_noise_is_calibrated_to_whoever_takes_part_most():
    def costs(client, multiplier):
        return {Release("gaussian", multiplier, 0.5 if client else 1.0): 4}

    schedule = [[1], [1, 0], [1], [1], [0, 1]]
    budget = Budget(epsilon=4.0)
    found = budget.noise(costs, schedule)
    spent = [
        guarantee(repeated(costs(client, found), rounds), DELTA)[0]
        for client, rounds in ((0, 2), (1, 5))
    ]
    assert 3.98 < max(spent) <= 4.0


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("samples", [2, 12, 1000])
@pytest.mark.parametrize("epsilon", [0.01, 0.3, 2.0])
def test_nfdp_keeps_as_many_as_epsilon_allows(samples, epsilon, replacement):
    kept = affordable(samples, epsilon, replacement)
    assert kept == 0 or guaranteed(samples, kept, replacement)[0] <= epsilon + 1e-12
    if kept < samples:
        assert guaranteed(samples, kept + 1, replacement)[0] > epsilon


def test_nfdp_by_hand_and_its_trap():
    assert guaranteed(9, 5)[0] == pytest.approx(math.log(2))
    assert guaranteed(9, 5)[1] == pytest.approx(5 / 9)
    assert guaranteed(4, 2, replacement=True)[0] == pytest.approx(2 * math.log(1.25))
    assert guaranteed(4, 2, replacement=True)[1] == pytest.approx(1 - 0.75**2)
    assert all(guaranteed(n, k)[1] >= 1 / n for n in (5, 100) for k in (1, 4))
