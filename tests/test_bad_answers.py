"""A client that answers a query with nonsense, or not at all, costs its answer and nothing else."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients import app
from fedkd.clients.app import client_app
from fedkd.clients.phase import Phase
from flwr.app import Array, Message, MetricRecord

import fedkd
from fedkd.callbacks import Callback
from fedkd.config import RunConfig
from fedkd.config.overrides import merge
from fedkd.engine.base import MEASURED
from fedkd.errors import RunError
from fedkd.knowledge.admission import Expected, Rejected
from fedkd.rounds.drawing import drawn_cohort
from fedkd.secure.summing import averages, mean_arrays

HOSTILE = 2
KAFAL = {"name": "kafal", "rounds_per_cycle": 2, "budget": 0.1, "initial": 0.2}


class Watcher(Callback):
    """Keeps why clients were rejected, by round."""

    def __init__(self) -> None:
        self.rejected: list[dict[int, str]] = []

    def on_round(self, record: Any) -> None:
        self.rejected.append(record.rejected)


def run(
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    change: Callable[[dict[str, Any]], Any],
    strategy: Any = "local",
    hostile: tuple[int, ...] = (HOSTILE,),
    **settings: Any,
) -> tuple[Any, Watcher]:
    """Run with clients whose answers to a query pass through `change`, which gets all numbers."""
    answer = getattr(app, query)

    @wraps(answer)
    def spoilt(phase: Phase) -> Message:
        reply: Message = answer(phase)
        if phase.index in hostile:
            records = reply.content.metric_records
            numbers = {**records["metrics"], **records[MEASURED]}
            change(numbers)
            reply.content[MEASURED] = MetricRecord(numbers)
            del reply.content["metrics"]
        return reply

    watcher = Watcher()
    settings = {"clients": 4, "rounds": 2, "engine": "inline", "transfer.size": 40} | settings
    with monkeypatch.context() as patch:
        patch.setattr(app, query, spoilt)
        result = fedkd.simulate(strategy, callbacks=[watcher], **settings)
    return result, watcher


def fails(metrics: dict[str, Any]) -> None:
    raise ConnectionError("the line is dead")


def sets(**numbers: Any) -> Callable[[dict[str, Any]], None]:
    return lambda metrics: metrics.update(numbers)


# -- accuracies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (fails, "client 2, round 2, query.evaluate: ConnectionError: the line is dead"),
        (sets(local=1e300), "local: got 1e+300, expected a number from 0 to 1"),
        (sets(ece=-1.0), "ece: got -1.0"),
        (sets(**{"global": [0.5]}), "global: got None"),
        (lambda metrics: metrics.clear(), "local: got None"),
    ],
)
def test_who_cannot_be_measured_is_left_out_by_name(
    change: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FedAvg's clients are asked for their accuracy in a message of its own."""
    settings = {"strategy": "fedavg", "evaluate.every": 2}
    result, watcher = run(monkeypatch, "evaluate", change, **settings)
    assert watcher.rejected[0] == {}
    assert list(watcher.rejected[1]) == [HOSTILE]
    assert watcher.rejected[1][HOSTILE].startswith(reason)
    assert result.summary["rejected"] == 1
    rows = [row for row in result.clients.to_pylist() if row["metric"] == "local"]
    assert [row["client"] for row in rows] == [0, 1, 3]
    mean = np.mean([row["value"] for row in rows])
    assert result.summary["alma_local"]["last"] == pytest.approx(mean)


def test_if_nobody_can_be_measured_the_run_ends_with_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everybody = (0, 1, 2, 3)
    cause = r"^every client failed in query.evaluate; the first: client 0, .* the line is dead"
    with pytest.raises(RunError, match=cause):
        run(monkeypatch, "evaluate", fails, "fedavg", everybody)


def test_an_unmeasured_client_is_measured_when_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number stands for it meanwhile, and nothing else than a message makes it one of them."""
    asked = []

    def once(metrics: dict[str, Any]) -> None:
        asked.append(dict(metrics))
        if len(asked) == 1:
            fails(metrics)

    settings = {"clients": 4, "rounds": 2, "fraction": 0.25}
    config = merge(RunConfig(), **settings)
    away = set(range(4)) - {k for number in (1, 2) for k in drawn_cohort(config, number)}
    result, watcher = run(monkeypatch, "evaluate", once, "knfu", (min(away),), **settings)
    assert watcher.rejected[0][min(away)].endswith("(message with no arrays)")
    rows = [row for row in result.clients.to_pylist() if row["metric"] == "local"]
    assert [row["round"] for row in rows if row["client"] == min(away)] == [2]
    assert len([row for row in rows if row["round"] == 1]) == 3


# -- active learning -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["kafal", "kafal_soft"])
@pytest.mark.parametrize(
    ("query", "change", "reason"),
    [
        ("score", fails, "client 2, round 3, query.score: ConnectionError"),
        ("score", sets(requested=10**9), "requested: got 1000000000, expected a number from 0"),
        ("score", sets(requested=float("nan")), "requested: got nan"),
        ("score", sets(requested=0.5), "requested: got 0.5, expected a whole number"),
        ("annotate", fails, "client 2, round 3, query.annotate: ConnectionError"),
        ("annotate", sets(annotated=-3), "annotated: got -3"),
        ("annotate", sets(cost=1e300), "cost: got 1e+300"),
        ("annotate", sets(queried_3=10**6), "queried_3: got 1000000"),
        ("annotate", sets(labelled_0=1e300), "labelled_0: got 1e+300"),
        ("annotate", sets(**{f"labelled_{k}": 20 for k in range(10)}), "labelled: got 200"),
        ("annotate", lambda metrics: metrics.clear(), "annotated: got None"),
        ("tally", fails, "client 2, round 1, query.tally: ConnectionError"),
        ("tally", sets(labelled_9=[1.0]), "labelled_9: got [1.0]"),
    ],
)
def test_a_bad_answer_in_active_learning_is_not_used(
    strategy: str, query: str, change: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"rounds": 4, "data.samples_per_client": 30}
    node = KAFAL | {"name": strategy}
    result, watcher = run(monkeypatch, query, change, node, **settings)
    asked = 1 if query == "tally" else 3
    assert [list(one) for one in watcher.rejected] == [
        [HOSTILE] if number == asked else [] for number in (1, 2, 3, 4)
    ]
    assert watcher.rejected[asked - 1][HOSTILE].startswith(reason)
    labels = result.rounds["labels"].to_pylist()
    assert labels == [24, 24, *([24 + 9] * 2 if query != "tally" else [24 + 12] * 2)]


def test_if_every_answer_is_bad_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"rounds": 4, "data.samples_per_client": 30}
    with pytest.raises(RunError, match=r"^every client failed in query\.score; the first: client"):
        run(monkeypatch, "score", fails, KAFAL, (0, 1, 2, 3), **settings)


# -- who is who ----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{}, {"client": "two"}, {"client": 2.0}])
def test_a_node_that_does_not_say_who_it_is_ends_the_run(
    said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hello = app.hello

    def vague(*given: Any) -> Message:
        reply = hello(*given)
        about = reply.content.config_records["about"]
        if about.pop("client") == HOSTILE:
            about.update(said)
        else:
            about["client"] = int(given[2].node_config["partition-id"])
        return reply

    monkeypatch.setattr(app, "hello", vague)
    with pytest.raises(RunError, match=r"^node 1002 does not say which client it is$"):
        fedkd.simulate("local", clients=4, rounds=1, engine="inline")


# -- sums ----------------------------------------------------------------------------------------


def asked(client: int, samples: int) -> Expected:
    return Expected(
        client,
        1,
        "parameters",
        torch.zeros(0, dtype=torch.int64),
        (3,),
        extras={"samples": (1,)},
        heaviest=2.0**20,
        counted=("samples",),
        samples=samples,
    )


def sums(weight: float, samples: float) -> dict[str, Any]:
    return {
        "values": np.ones(3) * weight,
        "weights": np.array([weight]),
        "extras.samples": np.array([samples]),
    }


def test_a_sum_that_counts_more_samples_than_there_are_is_not_used() -> None:
    clients = [asked(0, 12), asked(4, 20)]
    found = averages(sums(32.0, 32.0), clients)
    assert [one.client for one in found] == [0, 4]
    assert found[0].values.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(Rejected, match=r"^samples: got 1000032.0, expected a number from 0 to"):
        averages(sums(32.0, 1e6 + 32), clients)
    with pytest.raises(Rejected, match=r"^weights: got 1000032.0"):
        averages(sums(1e6 + 32, 32.0), clients)
    arrays = {"weights": np.array([1e6]), "arrays.w": np.ones(2)}
    with pytest.raises(Rejected, match=r"^num-examples: sum is 1e\+06, expected .* 1 to 32"):
        mean_arrays(arrays, ["w"], most=32)
    arrays["weights"] = np.array([32.0])
    assert mean_arrays(arrays, ["w"], most=32)["w"].tolist() == [1 / 32, 1 / 32]


@pytest.mark.parametrize("strategy", ["fedavg", "lg_fedavg"])
def test_a_secure_round_with_an_impossible_weight_is_skipped(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell whose it is; the sum, though, is known to be wrong."""

    def heavy(message: Message, context: Any, call_next: Any) -> Message:
        reply = call_next(message, context)
        if context.node_config["partition-id"] == HOSTILE and "metrics" in reply.content:
            if "arrays" in reply.content:
                reply.content.metric_records["metrics"]["num-examples"] = 10**6
            elif "knowledge" in reply.content:
                samples = Array(np.full(1, 1e6, np.float32))
                reply.content.array_records["knowledge"]["samples"] = samples
        return reply

    def heavy_app(*given: Any, **more: Any) -> Any:
        return client_app(*given, mods=[heavy], **more)

    watcher = Watcher()
    monkeypatch.setattr("fedkd.run.executing.client_app", heavy_app)
    settings = {"clients": 4, "rounds": 2, "engine": "inline", "secure.aggregation": True}
    result = fedkd.simulate(strategy, callbacks=[watcher], **settings)
    assert result.rounds["skipped"].to_pylist() == [1, 1]
    assert all(list(one) == [0, 1, 2, 3] for one in watcher.rejected)
    assert "expected a number from" in watcher.rejected[0][0]
