"""Shared parameters: the weighted mean, groups, who has what, and a run that is resumed."""

from collections import defaultdict

import pytest
import support
import torch
from fedkd.strategies.feddf import FedDF
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.parametric import ParameterFusion
from hypothesis import given, settings
from hypothesis import strategies as st
from support import TINY

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack, to_tensor
from fedkd.models.flat import flatten, unflatten
from fedkd.rundir.digest import load_model

SMALL = TINY | {"rounds": 3, "fit.epochs": 1}


def stack_of(values: torch.Tensor, samples: list[float]) -> KnowledgeStack:
    trained = torch.tensor(samples, dtype=torch.float32).unsqueeze(1)
    return support.stack_of(values, kind="parameters", extras={"samples": trained})


class Mean(ParameterFusion):
    """The base, with a note of who was sent what, and when."""

    homogeneous = False

    def __init__(self, **base):
        super().__init__(**base)
        self.sent = defaultdict(dict)

    def before_fit(self, plan):
        records = super().before_fit(plan)
        self.sent["before", plan.number] = unpacked(records)
        return records

    def teach(self, plan, admitted, outcome):
        kind, records = super().teach(plan, admitted, outcome)
        self.sent["after", plan.number] = unpacked(records)
        return kind, records


def unpacked(records):
    return {k: to_tensor(record["teacher"]["values"]) for k, record in records.items()}


class Personal(Mean):
    """Everybody gets its own parameters back, one added; the mean is for those who were away."""

    homogeneous = True

    def fuse(self, knowledge):
        return knowledge.values + 1


def test_the_weighted_mean_by_hand() -> None:
    values = torch.tensor([[1.0, 0.0], [5.0, 4.0]])
    knowledge = stack_of(values, [30, 10])
    teacher, weights = fuse_in_blocks(Mean(), knowledge, InlineBlocks())
    assert weights is None
    assert torch.equal(teacher.values, torch.tensor([2.0, 1.0]))
    assert (teacher.values - values.mean(dim=0)).abs().min() > 1e-3


def test_who_claims_no_samples_does_not_divide_by_zero() -> None:
    values = torch.tensor([[3.0, 1.0]])
    assert torch.equal(Mean().fuse(stack_of(values, [0])), values[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_mean_lies_between_the_clients_in_any_order(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, 7, generator=generator)
    samples = torch.randint(1, 50, (n,), generator=generator).float()
    mean = Mean().fuse(stack_of(values, samples.tolist()))
    slack = 1e-5
    assert (mean <= values.amax(dim=0) + slack).all()
    assert (mean >= values.amin(dim=0) - slack).all()
    order = torch.randperm(n, generator=generator)
    again = Mean().fuse(stack_of(values[order], samples[order].tolist()))
    torch.testing.assert_close(again, mean, atol=1e-5, rtol=1e-5)
    if n == 1:
        assert torch.equal(mean, values[0])


def test_all_start_from_one_model_and_those_who_stay_are_not_told_twice() -> None:
    strategy = Mean()
    result = fedkd.simulate(strategy, **SMALL)
    first = strategy.sent["before", 1]
    assert set(first) == set(range(5))
    assert all(torch.equal(vector, first[0]) for vector in first.values())
    assert not strategy.sent["before", 2]
    assert not strategy.sent["before", 3]
    for client in range(5):
        assert torch.equal(flatten(result.model(client)), strategy.state["shared.0"])


def test_who_was_away_is_brought_up_to_date() -> None:
    strategy, rounds = Mean(), 6
    settings = SMALL | {"rounds": rounds, "fraction": 0.4, "clients": 6}
    fedkd.simulate(strategy, **settings)
    current = strategy.sent["before", 1].popitem()[1]
    has: set[int] = set()
    late = 0
    for number in range(1, rounds + 1):
        told, taught = strategy.sent["before", number], strategy.sent["after", number]
        if number > 1:
            assert set(told) == set(taught) - has
            late += len(told)
        assert all(torch.equal(vector, current) for vector in told.values())
        current = next(iter(taught.values()))
        assert not torch.equal(current, next(iter(told.values()), torch.zeros(1)))
        has = set(taught)
    assert late > 0


@pytest.mark.parametrize("fault", ["dropout", "straggler", "crash"])
def test_who_met_a_fault_is_brought_up_to_date(fault: str) -> None:
    strategy = Mean()
    fedkd.simulate(strategy, **SMALL | {"rounds": 5, f"faults.{fault}": 0.4})
    known = {number: set(strategy.sent["after", number]) for number in range(1, 6)}
    assert any(len(clients) < 5 for clients in known.values())
    for number in range(2, 6):
        assert set(strategy.sent["before", number]) == set(range(5)) - known[number - 1]


class Interrupted(Mean):
    """Client 2 never gets the last message of a round."""

    def teach(self, plan, admitted, outcome):
        kind, records = super().teach(plan, admitted, outcome)
        outcome.rejected[2] = "the line went dead"
        return kind, {client: record for client, record in records.items() if client != 2}


def test_who_missed_the_teacher_is_brought_up_to_date() -> None:
    strategy = Interrupted()
    fedkd.simulate(strategy, **SMALL)
    assert set(strategy.sent["before", 2]) == set(strategy.sent["before", 3]) == {2}
    assert strategy.state["fresh"].tolist() == [True, True, False, True, True]


def test_a_skipped_round_leaves_those_who_trained_behind() -> None:
    strategy = Mean()
    settings = SMALL | {"rounds": 8, "faults.dropout": 0.4, "min_clients": 4}
    result = fedkd.simulate(strategy, **settings)
    skipped = [bool(row["skipped"]) for row in result.rounds.to_pylist()]
    at = next(n for n in range(2, 8) if skipped[n - 1] and not skipped[n - 2])
    assert not strategy.sent["after", at]
    told = strategy.sent["before", at + 1]
    assert set(told) == set(range(5))  # all were asked to train, and some did
    current = next(iter(strategy.sent["after", at - 1].values()))
    assert all(torch.equal(vector, current) for vector in told.values())


def test_each_architecture_shares_among_its_own() -> None:
    result = fedkd.simulate(Mean(), model=["mlp", "lenet5"], **SMALL)
    vectors = [flatten(result.model(client)) for client in range(5)]
    assert all(torch.equal(vectors[k], vectors[k % 2]) for k in range(5))
    assert len(vectors[0]) != len(vectors[1])


def test_a_group_that_was_away_is_not_told_again() -> None:
    """Clients 0, 2, 4 are one group, 1 and 3 the other; only one group's vector changes a round."""

    class Turns(Mean):
        def cohort(self, number, drawn, clients):
            return [k for k in range(clients) if k % 2 == number % 2]

    strategy = Turns()
    fedkd.simulate(strategy, model=["mlp", "lenet5"], **SMALL | {"rounds": 4})
    assert [set(strategy.sent["before", n]) for n in (1, 2, 3, 4)] == [
        {1, 3},
        {0, 2, 4},
        set(),
        set(),
    ]


def test_personal_parameters_for_those_who_are_there_the_mean_for_others() -> None:
    strategy = Personal()
    fedkd.simulate(strategy, **SMALL | {"fraction": 0.6, "rounds": 4})
    for number in (1, 2, 3):
        taught = strategy.sent["after", number]
        assert len({tuple(vector.tolist()) for vector in taught.values()}) == 3
        mean = torch.stack(list(taught.values())).mean(dim=0) - 1  # equal numbers of samples
        for vector in strategy.sent["before", number + 1].values():
            torch.testing.assert_close(vector, mean)


@pytest.mark.parametrize(
    ("strategy", "more"),
    [(Mean, {"model": ["mlp", "lenet5"]}), (Personal, {}), (FedDF, {"model": ["mlp", "lenet5"]})],
)
def test_a_resumed_run_ends_the_same(strategy, more, tmp_path) -> None:
    settings = SMALL | {"fraction": 0.6, **more}
    whole = fedkd.simulate(strategy(), **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate(strategy(), run_dir=str(run_dir), **settings | {"rounds": 2})
    resumed = fedkd.resume(run_dir, strategy=strategy(), model=more.get("model"), rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]


def test_buffers_travel_with_the_parameters() -> None:
    result = fedkd.simulate(Mean(), model="resnet8", **SMALL | {"rounds": 1, "clients": 2})
    states = [load_model(result.run_dir / "models", client) for client in (0, 1)]
    names = [name for name in states[0] if name.endswith("running_mean")]
    assert names
    assert all(torch.equal(states[0][name], states[1][name]) for name in names)
    assert any(states[0][name].abs().max() > 0 for name in names)
    other = unflatten(result.model(0), flatten(result.model(1)))
    assert torch.equal(flatten(other), flatten(result.model(1)))
