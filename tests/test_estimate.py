"""What a dry run foresees is what the run then does: ids of samples, fine-tuning, bytes."""

import pytest

import fedkd
from fedkd.config.overrides import compose
from fedkd.rounds.timing import Cost
from fedkd.run import estimate

SMALL = {
    "clients": 3,
    "rounds": 2,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 40,
}
HEADER = 160
"""Bytes at most that an array has beside its numbers."""


def planned(**more):
    return estimate.plan(compose([f"{key}={value}" for key, value in (SMALL | more).items()]))


@pytest.mark.parametrize("drawn", [{}, {"transfer.per_round": 10}, {"transfer.hard": "true"}])
def test_ids_of_samples_and_of_views_are_foreseen_where_they_travel(drawn):
    cost = planned(strategy="fedmd", **drawn)
    rows = drawn.get("transfer.per_round", 40)
    assert cost.bytes_down == 4 * 10 * rows + (2 * 4 * rows if drawn else 0)
    more = {key: True if value == "true" else value for key, value in drawn.items()}
    summary = fedkd.simulate("fedmd", **SMALL, **more).summary
    headers = summary["bytes_down"] - cost.participations * cost.bytes_down
    assert 0 < headers <= cost.participations * HEADER * (3 if drawn else 1)


def test_fine_tuning_before_a_measurement_is_foreseen(monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda *_: Cost(parameters=10, step=1.0, predict=0.0))
    for every, evaluations in ((1, 2), (2, 1)):
        how = {"strategy": "fedbabu", "evaluate.every": every}
        without = planned(**how, **{"strategy.tune": 0}).seconds
        tuned = planned(**how, **{"strategy.tune": 5}).seconds
        batches = 1  # 20 samples
        assert tuned - without == pytest.approx(3 * evaluations * 5 * batches)


def test_views_are_counted_as_data():
    few, many = (planned(**{"transfer.hard": "true", "transfer.views": n}) for n in (1, 11))
    assert many.bytes_data - few.bytes_data == 10 * 40 * 64 * 4
