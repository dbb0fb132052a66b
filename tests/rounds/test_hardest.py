"""Which view of a transfer sample a round uses: the formula, the vote, and runs that follow it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import kind_named
from fedkd.rounds.hardest import UNKNOWN, Hardest
from tests.support import TINY, mostly_slow, stack_of
from tests.support import fedkd as command

HARD = {**TINY, "rounds": 4, "transfer.hard": True, "transfer.views": 3}


def column(result, name):
    """Return a column of the rounds table."""
    return result.rounds[name].to_pylist()


F1 = [[0.6, 0.3, 0.1], [0.3, 0.3, 0.4]]
F2 = [[0.1, 0.1, 0.8], [0.2, 0.2, 0.6]]


def pairs(*rows):
    """Return the soft labels of two clients, a row of each pair a sample."""
    return torch.tensor(rows).transpose(0, 1)


def test_two_clients_disagree_by_their_js_divergence():
    labels = pairs(F1, F2)
    expected = torch.tensor([0.073671, 0.024157]).double()
    assert torch.allclose(stack_of(labels).disagreement(), expected, atol=1e-6)
    logits = stack_of(labels.log() + 3.0, kind="logits")
    assert torch.allclose(logits.disagreement(), expected, atol=1e-6)


@given(st.integers(2, 6), st.integers(0, 99), st.sampled_from([1.0, 30.0, 400.0]))
def test_disagreement_is_the_mean_kl_from_the_mean(clients, seed, sharpness):
    generator = torch.Generator().manual_seed(seed)
    p = (sharpness * torch.randn(clients, 5, 3, generator=generator)).softmax(dim=-1)
    exact = p.double()
    parts = torch.xlogy(exact, exact) - torch.xlogy(exact, exact.mean(dim=0))
    found = stack_of(p).disagreement()
    assert torch.allclose(found, parts.sum(dim=-1).mean(dim=0), atol=1e-9)
    assert found.min() >= 0
    assert found.max() <= math.log(clients) + 1e-6
    assert torch.allclose(found, stack_of(p.flip(0)).disagreement(), atol=1e-12)
    assert stack_of(p[:1].expand(clients, -1, -1)).disagreement().max() < 1e-7


def test_only_those_who_sent_something_disagree_and_one_alone_does_not():
    labels = torch.tensor([*F1, [1.0, 0.0, 0.0]]).unsqueeze(1).repeat(1, 3, 1)
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    found = stack_of(labels, mask=mask).disagreement()
    assert found[0].item() == pytest.approx(0.073671, abs=1e-6)
    assert found[1:].isnan().all()


def test_numbers_disagree_by_their_variance():
    means = torch.tensor([[[1.0, 4.0]], [[3.0, 4.0]]])
    half = torch.full((2, 1), 0.5).double()
    plain, gaussian = kind_named("predictions"), kind_named("gaussian_predictions")
    assert plain.apart(means, half).tolist() == [0.5]
    assert gaussian.apart(torch.cat([means, 9 * means], dim=-1), half).tolist() == [0.5]


@pytest.mark.parametrize("power", [1.0, 0.1])
def test_the_first_of_the_two_pairs_is_kept_however_much_clients_agree_by_then(power):
    hardest = Hardest(size=2, views=1, explore=1.0, seed=0)
    hardest.vote(stack_of(pairs(F1, F2)))
    assert hardest.ranks.tolist() == [0.75, 0.25]
    ids = hardest.samples(2, torch.arange(2))
    assert ids.tolist() == [2, 3]  # views are tried
    tried = stack_of((pairs(F2, F1).log() * power).softmax(dim=-1))
    columns = hardest.vote(replace(tried, sample_ids=ids))
    assert (hardest.kept.tolist(), columns["views_kept"]) == ([0, 1], 0.5)


@given(st.integers(1, 7), st.integers(1, 4), st.floats(0.1, 1.0), st.integers(0, 99), st.data())
def test_votes_follow_the_rule_sample_by_sample(size, views, explore, seed, data):
    hardest = Hardest(size, views, explore, seed)
    kept, ranks = [0] * size, [UNKNOWN] * size
    some = data.draw(st.integers(1, size))
    rng = np.random.default_rng(seed)
    for number in range(1, 6):
        drawn = torch.from_numpy(np.sort(rng.choice(size, some, replace=False)))
        ids = hardest.samples(number, drawn)
        assert sorted((ids % size).tolist()) == drawn.tolist()
        assert ids.tolist() == sorted(ids.tolist())
        labels = torch.from_numpy(rng.dirichlet([0.3] * 3, (2, some))).float()
        mask = torch.from_numpy(rng.random((2, some)) < 0.9)
        stack = replace(stack_of(labels, mask=mask), sample_ids=ids)
        found = stack.disagreement().tolist()
        heard = [value for value in found if not math.isnan(value)]
        for one, value in zip(ids.tolist(), found, strict=True):
            sample, version = one % size, one // size
            if ranks[sample] == UNKNOWN:
                assert version == 0  # a sample is first used as it is
            if math.isnan(value):
                continue
            rank = sum((other < value) + (other == value) / 2 for other in heard) / len(heard)
            if version == kept[sample] or rank > ranks[sample] + 1e-12:
                kept[sample], ranks[sample] = version, rank
        hardest.vote(stack)
        assert hardest.kept.tolist() == kept
        assert hardest.ranks.tolist() == pytest.approx(ranks)
        again = Hardest(size, views, explore, seed)
        again.load(json.loads(json.dumps(hardest.save())))
        assert torch.equal(again.samples(number + 1, drawn), hardest.samples(number + 1, drawn))
        hardest = again


def test_the_share_is_explored_and_no_view_is_preferred():
    hardest = Hardest(size=6000, views=3, explore=0.3, seed=1)
    hardest.kept[:], hardest.ranks[:] = 2, 0.5
    versions = hardest.samples(7, torch.arange(6000)) // 6000
    shares = torch.bincount(versions, minlength=4) / 6000
    assert torch.allclose(shares, torch.tensor([0.1, 0.1, 0.7, 0.1]), atol=0.02)


def test_rounds_that_say_nothing_change_nothing():
    hardest = Hardest(size=2, views=1, explore=1.0, seed=0)
    before, alike = hardest.save(), torch.full((2, 2, 4), 0.25)
    assert hardest.vote(None) == {"views_kept": 0.0}
    assert hardest.vote(stack_of(alike[:1])) == {"views_kept": 0.0}
    assert hardest.save() == before
    for ids in ([0, 1], [2, 3]):
        same = replace(stack_of(alike), sample_ids=torch.tensor(ids))
        assert hardest.vote(same) == {"disagreement": 0.0, "views_kept": 0.0}


def test_clients_send_as_much_as_without_and_are_sent_sample_numbers():
    plain, hard = (
        fedkd.simulate("fedmd", **one, **{"compress": "none"})
        for one in ({**TINY, "rounds": 4}, HARD)
    )
    assert hard.summary["digest"] != plain.summary["digest"]
    assert hard.summary["bytes_up"] == plain.summary["bytes_up"]
    numbers = 4 * 60 * 5 * 2 * 4  # bytes, samples, clients, messages, rounds
    assert 0 <= hard.summary["bytes_down"] - plain.summary["bytes_down"] - numbers < 200 * 40
    kept = column(hard, "views_kept")
    assert kept[0] == 0 < kept[-1] <= 1
    assert all(0 < value < math.log(5) for value in column(hard, "disagreement"))


OTHERS = {
    "knfu": {},
    "scarlet": {"strategy.duration": 2},
    "selective_fd": {"fraction": 1.0, "data.alpha": None, "strategy.quantile": 0.5},
    "staged": {"transfer.labelled": True, "transfer.mixup": 0.0},
}
BESIDE = {
    "fraction": 0.6,
    "transfer.per_round": 40,
    "transfer.mixup": 0.5,
    "compress": "float16",
    "faults.dropout": 0.2,
    "model": ["mlp", "lenet5"],
}


@pytest.mark.parametrize("name", mostly_slow(OTHERS, "knfu", "selective_fd"))
def test_runs_go_on_as_if_they_had_not_stopped(name):
    settings = {**HARD, **BESIDE, **OTHERS[name]}
    whole = fedkd.simulate(name, **settings)
    assert column(whole, "views_kept")[-1] > 0
    first = fedkd.simulate(name, **settings | {"rounds": 2, "checkpoint.every": 1})
    assert command("run", f"resume={first.run_dir}", "rounds=4").exit_code == 0
    rest = json.loads((first.run_dir / "summary.json").read_text())
    assert rest["digest"] == whole.summary["digest"]


def test_a_regressions_clients_vote_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype("float32")
    settings = {"data": (x, x.sum(axis=1)), "data.partitioner": "iid", "task": "regression"}
    for variance in (False, True):
        task = {"name": "regression", "variance": variance}
        own = {**HARD, **settings, "task": task, "data.samples_per_client": 20}
        assert column(fedkd.simulate("fedmd", **own), "views_kept")[-1] > 0


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("local", {}, "is for clients that label transfer samples, not local"),
        ("fedavg", {}, "not fedavg"),
        ("feddf", {}, "not feddf"),
        ("fedproto", {}, "not fedproto"),
        ("kafal", {}, "not kafal"),
        ("fedmd", {"secure.aggregation": True}, "secure.aggregation=true shows their sum"),
        ("fedmd", {"privacy": "pate"}, "privacy pate shows noisy votes"),
        ("fedmd", {"fraction": 0.2}, "needs two clients a round"),
        ("fedmd", {"clients": 1}, "needs two clients a round"),
        ("fedmd", {"rounds": 1}, "from the second round on, and there is one; have more, or set"),
        ("fedmd", {"transfer.per_round": 1}, "the samples of a round, and there is one; have more"),
        ("fedmd", {"transfer.size": 1}, "compares the samples of a round"),
    ],
)
def test_where_nobody_is_seen_to_disagree_it_is_refused(name, settings, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        fedkd.simulate(name, **{**HARD, **settings})
    assert (caught.value.key, caught.value.value) == ("transfer.hard", True)
