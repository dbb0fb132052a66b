"""Methods without a transfer set: the newest teacher reaches every client that fits, once."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from fedkd.strategies.fd import FD
from fedkd.strategies.fedhkd import FedHKD
from fedkd.strategies.fedproto import FedProto
from fedkd.strategies.fedtgp import FedTGP

import fedkd
from fedkd import RunResult, simulate
from fedkd.knowledge import to_tensor
from fedkd.rundir.recordings import Recordings

SMALL: dict[str, Any] = {
    "clients": 10,
    "rounds": 2,
    "fraction": 0.4,
    "data.alpha": 1.0,
    "data.samples_per_client": 40,
    "engine": "inline",
}
METHODS = ["fd", "fedproto", "fedtgp", "fedhkd", {"name": "fd", "include_self": False}]


def participants(run: RunResult, number: int) -> set[int]:
    rows = run.clients.to_pylist()
    return {r["client"] for r in rows if (r["round"], r["metric"]) == (number, "loss_fit")}


def same(one: RunResult, other: RunResult, client: int) -> bool:
    pairs = zip(*(run.model(client).parameters() for run in (one, other)), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_who_comes_first_in_a_later_round_learns_from_those_before(method: Any) -> None:
    run, local = simulate(method, **SMALL), simulate("local", **SMALL)
    new = participants(run, 2) - participants(run, 1)
    assert new
    for client in new:
        assert not same(run, local, client)
    for client in participants(run, 1) - participants(run, 2):  # nobody is told before it fits
        assert same(run, local, client)


def test_what_a_newcomer_lacks_costs_its_bytes() -> None:
    run = simulate("fd", **SMALL | {"data.alpha": 100.0, "data.samples_per_client": 100})
    new = participants(run, 2) - participants(run, 1)
    first, second = run.rounds["bytes_down"].to_pylist()
    assert second == first + len(new) * first / 4


def noting(base: type) -> Any:
    """Return a strategy that draws its cohorts from a list, and notes what it sends."""

    class Noting(base):  # type: ignore[misc]
        cohorts: list[list[int]]

        def __init__(self, **parameters: Any) -> None:
            super().__init__(**parameters)
            self.sent: dict[Any, dict[int, Any]] = defaultdict(dict)

        def cohort(self, number: int, drawn: list[int], clients: int) -> list[int]:
            return self.cohorts[number - 1]

        def before_fit(self, plan: Any) -> Any:
            records = super().before_fit(plan)
            self.sent["before", plan.number] = unpacked(records)
            return records

        def lessons(self, plan: Any, teacher: Any) -> Any:
            records = super().lessons(plan, teacher)
            if teacher.clients:
                self.sent["after", plan.number] = unpacked(records)
            return records

    return Noting


def unpacked(records: Any) -> dict[int, torch.Tensor]:
    return {client: to_tensor(one["teacher"]["values"]) for client, one in records.items()}


@pytest.mark.parametrize("kind", [FD, FedProto, FedTGP, FedHKD])
def test_the_newest_is_sent_to_who_lacks_it_and_to_nobody_twice(kind: type) -> None:
    strategy = noting(kind)()
    strategy.cohorts = [[0, 1], [1, 2], [0, 1, 2], [3], [0, 3]]
    simulate(strategy, **SMALL | {"clients": 4, "rounds": 5, "fraction": 1.0})
    told = {number: sorted(strategy.sent["before", number]) for number in range(1, 6)}
    assert told == {1: [], 2: [2], 3: [0], 4: [3], 5: [0]}
    for number in (2, 3, 4, 5):
        newest = next(iter(strategy.sent["after", number - 1].values()))
        for values in strategy.sent["before", number].values():
            assert torch.equal(values, newest)


def test_who_was_away_gets_the_mean_where_each_has_a_teacher_of_its_own() -> None:
    strategy = noting(FD)(include_self=False)
    strategy.cohorts = [[0, 1], [0, 2]]
    simulate(strategy, **SMALL | {"clients": 3, "fraction": 1.0})
    others = list(strategy.sent["after", 1].values())
    assert not torch.equal(*others)
    torch.testing.assert_close(strategy.sent["before", 2][2], (others[0] + others[1]) / 2)


@pytest.mark.parametrize("method", METHODS[:4])
def test_lost_replies_and_skipped_rounds(method: str) -> None:
    """Whoever is late, or in a round that is skipped, hears of the newest teacher next time."""
    settings = {"faults.straggler": 0.4, "faults.dropout": 0.2, "min_clients": 3, "rounds": 6}
    run = simulate(method, **SMALL | settings | {"fraction": 0.5})
    assert run.summary["rejected"] > 0
    assert sum(run.rounds["skipped"].to_pylist()) > 0
    local = simulate("local", **SMALL | settings | {"fraction": 0.5})
    made = [n for n, skipped in enumerate(run.rounds["skipped"].to_pylist(), 1) if not skipped]
    for client in range(10):
        fits = [n for n in range(1, 7) if client in participants(run, n)]
        if fits and fits[-1] > made[0]:
            assert not same(run, local, client)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_run_is_resumed_and_extended(method: Any, tmp_path: Path) -> None:
    whole = simulate(method, **SMALL | {"rounds": 4})
    simulate(method, run_dir=str(tmp_path / "run"), **SMALL)
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole.summary["digest"]


def test_a_recording_tells_what_newcomers_were_sent(tmp_path: Path) -> None:
    run = simulate("fedproto", run_dir=str(tmp_path / "run"), record={"knowledge": True}, **SMALL)
    new = participants(run, 2) - participants(run, 1)
    first, second = Recordings(tmp_path / "run")
    taught = first.target(first.clients[0])
    assert taught is not None
    for client in range(10):
        assert first.start(client) is None
        start = second.start(client)
        assert (start is not None) == (client in new)
        assert start is None or torch.equal(start, taught.values)


@pytest.mark.parametrize("more", [{"secure.aggregation": True}, {"compress": "float16"}], ids=str)
def test_newcomers_learn_with_secure_sums_and_with_codecs(more: dict[str, Any]) -> None:
    run, local = simulate("fedproto", **SMALL | more), simulate("local", **SMALL)
    assert run.summary["rejected"] == 0
    for client in participants(run, 2) - participants(run, 1):
        assert not same(run, local, client)
