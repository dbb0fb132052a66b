"""The next token: its loss and metrics worked out by hand, windows of running text, rows."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fedkd import tasks
from fedkd.data.windows import cut, owned
from fedkd.tasks.rows import by_sample, rows_at, rows_of, samples_at
from fedkd.tasks.targets import Targets
from fedkd.tasks.tokens import LARGEST, Tokens

ABOUT = Targets(["next token"], [], [], tokens=(3, 5))
TASK = Tokens()
QUARTER = math.log(4)


def logits(*rows):
    """Logits [windows, places, 5] whose softmax has these probabilities."""
    return torch.tensor(rows).log()


SURE = [0.05, 0.8, 0.05, 0.05, 0.05]
EVEN = [0.0, 0.25, 0.25, 0.25, 0.25]
OUTPUTS = logits([SURE, EVEN, EVEN], [SURE, SURE, EVEN])
TARGETS = torch.tensor([[1, 2, 3], [2, 0, 0]])  # the second window has one token
ONES = torch.ones(2, dtype=torch.float64)


def measured(weights=ONES, outputs=OUTPUTS, targets=TARGETS):
    return TASK.metrics(TASK.condensed(outputs, targets), targets, weights, ABOUT)


def test_metrics_worked_out_by_hand():
    costs = [-math.log(0.8), QUARTER, QUARTER, -math.log(0.05)]
    found = measured()
    assert found["nll"] == pytest.approx(sum(costs) / 4, rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(sum(costs) / 4), rel=1e-6)
    assert found["next_token"] == pytest.approx(1 / 4)  # ties go to the first, which is token 1
    heavy = measured(torch.tensor([1.0, 3.0]).double())
    assert heavy["nll"] == pytest.approx((sum(costs[:3]) + 3 * costs[3]) / 6, rel=1e-6)


def test_the_loss_is_a_mean_over_samples_in_which_each_token_weighs_the_same():
    costs = [-math.log(0.8), QUARTER, QUARTER, -math.log(0.05)]
    assert TASK.loss(OUTPUTS, TARGETS).item() == pytest.approx(sum(costs) / 6, rel=1e-6)
    full = torch.randn(4, 3, 5), torch.randint(1, 5, (4, 3))
    usual = F.cross_entropy(full[0].flatten(0, 1), full[1].flatten())
    torch.testing.assert_close(TASK.loss(*full), usual)


def test_padded_places_get_no_gradient():
    outputs = torch.randn(2, 3, 5, requires_grad=True)
    TASK.loss(outputs, TARGETS).backward()
    assert outputs.grad[1, 1:].abs().max() == 0
    assert outputs.grad[0].abs().min() > 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_has_diverged_is_bad_and_does_not_drop_out(bad):
    outputs = OUTPUTS.clone()
    outputs[0, 0, 0] = bad
    kept = TASK.condensed(outputs, TARGETS)
    assert kept[1].isfinite().all()
    found = TASK.metrics(kept, TARGETS, ONES, ABOUT)
    assert all(low <= found[n] <= high for n in found for low, high in [TASK.span(n)])
    if bad != -torch.inf:  # then it is a token that cannot be
        assert not kept[0].isfinite().all()
        assert found["nll"] > 0.7 * LARGEST


def test_clients_without_a_test_have_no_number_and_groups_weigh():
    tested = tasks.Tested(TARGETS, torch.zeros(2, dtype=torch.int64), torch.tensor([2.0]).double())
    kept = TASK.condensed(OUTPUTS, TARGETS)
    found = TASK.examined(kept, tested, ABOUT)(torch.tensor([7.0]))
    assert found["local"] == pytest.approx(found["global"])
    assert math.isnan(measured(torch.zeros(2).double())["perplexity"])


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_rows_of_samples_and_back(samples, each, width):
    ids = torch.randperm(9)[:samples]
    values = torch.randn(samples, each, width)
    rows = rows_of(values)
    assert rows.shape == (samples * each, width)
    assert torch.equal(samples_at(rows_at(ids, each), each), ids)
    back = by_sample(rows, each)
    assert torch.equal(back if each > 1 else back[:, None], values)
    whole = torch.randn(9 * each, width)
    assert torch.equal(whole[rows_at(ids, each)], rows_of(whole.view(9, each, width)[ids]))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=6),
    st.integers(1, 5),
    st.data(),
)
def test_windows_have_every_token_but_an_owners_first_once(texts, length, data):
    owners = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(texts))))[: len(texts)]
    arrays = [np.array(text, np.int64) for text in texts]
    x, y, first = cut(arrays, owners, length)
    for owner in set(owners.tolist()):
        own = owners[first] == owner
        whole = np.concatenate([arrays[k] for k in np.flatnonzero(owners == owner)])
        there = y[own] != 0
        assert y[own][there].tolist() == whole[1:].tolist()
        assert x[own][there].tolist() == whole[:-1].tolist()
    assert ((x == 0) == (y == 0)).all()
    assert (np.diff(y == 0, axis=1) >= 0).all()  # padding is at the end


def test_owners_of_several_columns_and_of_none():
    table = pa.table({"a": [1, 1, 2, 1], "b": ["x", "y", "x", "x"]})
    assert owned(table, ["a", "b"], 4).tolist() == [0, 1, 2, 0]
    assert owned(table, [], 4).tolist() == [0, 1, 2, 3]
