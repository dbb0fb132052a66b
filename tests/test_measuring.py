"""What is measured of a run beside its means: the clients that fare worst, and calibration."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from fedkd.clients.workbench import Workbench
from hypothesis import given
from hypothesis import strategies as st
from support import TINY

import fedkd
from fedkd import simulate
from fedkd.config import EvaluateConfig, RunConfig
from fedkd.errors import ConfigError
from fedkd.report import Run
from fedkd.rounds.measuring import Measurements, worst
from fedkd.rundir.summary import derive
from fedkd.tasks.classification import Classification
from fedkd.tasks.evaluation import calibration_error, local_accuracy, recall, sampling_error

SHORT = TINY | {"clients": 12, "rounds": 3, "evaluate.every": 2}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_worst_tenth(values):
    got = worst(values)
    assert min(values) <= got <= np.mean(values) + 1e-12
    assert got == worst(values[::-1])
    if len(values) < 20:
        assert got == min(values)


def test_the_worst_tenth_by_hand():
    assert worst([0.3, 0.1, 0.2] * 10) == pytest.approx(0.1)
    assert worst([0.1, 0.5, *[0.9] * 18]) == pytest.approx(0.3)
    assert worst([0.1, 0.5, *[0.9] * 17]) == 0.1


def test_columns():
    measured = Measurements(3, 360)
    measured.current = {
        client: {"local": 0.1 * client, "global": 0.5, "ece": 0.2 * client} for client in range(3)
    }
    columns = measured.columns(evaluated=True)
    assert list(columns) == [
        "evaluated",
        "alma_local", "alma_local_std", "alma_local_worst", "alma_local_se",
        "alma_global", "alma_global_std", "alma_global_worst", "alma_global_se",
        "alma_ece", "alma_ece_std",
    ]  # fmt: skip
    assert columns["evaluated"] == 360
    assert columns["alma_local_worst"] == 0
    assert columns["alma_ece"] == pytest.approx(0.2)
    assert set(measured.columns(evaluated=False).values()) == {None}
    assert "alma_ece" not in Measurements(3, 360).columns(evaluated=False)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return simulate("knfu", run_dir=str(tmp_path_factory.mktemp("run") / "run"), **SHORT)


def test_tables_and_summary_say_the_same(result):
    rounds = result.rounds.to_pylist()
    rows = result.clients.to_pylist()
    assert rounds[0]["alma_ece"] is rounds[0]["alma_local_worst"] is None
    for number in (2, 3):
        for name in ("local", "global"):
            values = [r["value"] for r in rows if (r["round"], r["metric"]) == (number, name)]
            assert len(values) == 12
            assert rounds[number - 1][f"alma_{name}_worst"] == pytest.approx(min(values))
        values = [r["value"] for r in rows if (r["round"], r["metric"]) == (number, "ece")]
        assert rounds[number - 1]["alma_ece"] == pytest.approx(np.mean(values))
    last = rounds[-1]
    worst_decile = {name: last[f"alma_{name}_worst"] for name in ("local", "global")}
    assert result.summary["worst_decile"] == worst_decile
    assert result.summary["ece"] == last["alma_ece"]
    assert Run.load(result.run_dir).summary["ece"] == result.summary["ece"]


def test_new_keys_stand_beside_what_they_belong_to(result):
    keys = list(result.summary)
    start = keys.index("alma_local")
    assert keys[start : start + 7] == [
        "alma_local", "alma_global", "tested", "evaluated", "worst_decile", "ece", "privacy"
    ]  # fmt: skip


def test_the_ece_is_that_of_the_client_s_model(result):
    bench = Workbench((result.run_dir / "spec.json").read_text())
    x, y = bench.test(None)
    rows = result.clients.to_pylist()
    measured = {r["client"]: r["value"] for r in rows if (r["round"], r["metric"]) == (3, "ece")}
    for client in (0, 11):
        with torch.no_grad():
            logits = result.model(client)(x)
        assert measured[client] == pytest.approx(calibration_error(logits, y), abs=1e-6)


def test_a_model_that_all_clients_share_is_scored_once(result, monkeypatch):
    calls = []

    def counted(*given):
        calls.append(1)
        return calibration_error(*given)

    monkeypatch.setattr("fedkd.tasks.classification.calibration_error", counted)
    bench = Workbench((result.run_dir / "spec.json").read_text())
    _, y = bench.test(None)
    logits = torch.randn(len(y), 10)
    numbers = [bench.scores(Classification(), client, logits, None) for client in range(12)]
    assert len(calls) == 1
    assert len({one["ece"] for one in numbers}) == len({one["global"] for one in numbers}) == 1
    assert len({one["local"] for one in numbers}) > 1
    assert bench.scores(Classification(), 0, logits.clone(), None) == numbers[0]
    assert len(calls) == 2


def test_a_run_of_an_earlier_version_can_be_read(result, tmp_path):
    summary = {k: v for k, v in result.summary.items() if k not in ("worst_decile", "ece")}
    rounds = result.rounds
    old = [name for name in rounds.column_names if "worst" not in name and "ece" not in name]
    config = RunConfig(clients=result.summary["clients"]).to_dict()
    derived = derive(config, rounds.select(old))
    assert derived["worst_decile"] == {"local": None, "global": None}
    assert derived["ece"] is None
    run_dir = tmp_path / "old"
    run_dir.mkdir()
    (run_dir / "summary.json").write_text(json.dumps(summary))
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
    pq.write_table(rounds.select(old), run_dir / "rounds.parquet")
    assert Run.load(run_dir).summary["ece"] is None


def test_a_checkpoint_of_an_earlier_version_goes_on():
    measured = Measurements(2, 360)
    measured.load({"current": {"0": {"local": 0.5, "global": 0.5}}, "stale": [1]})
    measured.current[1] = {"local": 0.7, "global": 0.7, "ece": 0.3}
    assert measured.columns(evaluated=True)["alma_ece"] == 0.3
    assert SimpleNamespace(**measured.save()).stale == [1]


def test_the_sampling_error_by_hand():
    right, tested = torch.tensor([1.0, 0.5, float("nan")]), torch.tensor([8, 20, 0])
    error = sampling_error(right, tested, [80, 40, 5], [3, 1, 7])
    expected = (0.75**2 * 0.09 / 8 * 0.9 + 0.25**2 * 0.25 / 20 * 0.5) ** 0.5
    assert error == pytest.approx(expected)


def test_the_sampling_error_is_that_of_many_draws():
    rng = np.random.default_rng(0)
    sizes, rates, counts = [200, 60], [0.7, 0.4], [1, 2]
    labels = np.repeat([0, 1], sizes)
    right = np.concatenate([np.arange(n) < r * n for n, r in zip(sizes, rates, strict=True)])
    guess = torch.from_numpy(np.where(right, labels, 1 - labels))
    found, errors = [], []
    for _ in range(2000):
        rows = np.r_[rng.choice(200, 30, replace=False), 200 + rng.choice(60, 30, replace=False)]
        y = torch.from_numpy(labels[rows])
        each = recall(guess[rows], y, 2)
        found.append(local_accuracy(each, counts))
        errors.append(sampling_error(each, torch.bincount(y), sizes, counts) ** 2)
    assert np.std(found) == pytest.approx(np.mean(errors) ** 0.5, rel=0.06)


def test_a_weighted_calibration_error_is_that_of_as_many_samples():
    logits, labels = torch.randn(50, 3), torch.randint(3, (50,))
    times = torch.tensor([1, 4, 2])[labels]
    many = calibration_error(logits.repeat_interleave(times, 0), labels.repeat_interleave(times))
    few = calibration_error(logits, labels, weights=times.double())
    assert few == pytest.approx(many)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    settings = TINY | {"rounds": 3, "evaluate.samples": 150, "fraction": 0.6}
    return simulate("knfu", run_dir=str(tmp_path_factory.mktemp("run") / "run"), **settings)


def test_tables_say_on_how_many_samples(sampled):
    rounds = sampled.rounds
    assert rounds["evaluated"].to_pylist() == [150, 150, 359]
    for name in ("local", "global"):
        errors = rounds[f"alma_{name}_se"].to_pylist()
        assert errors[-1] is None
        assert all(0 < error < 0.1 for error in errors[:-1])
    assert sampled.summary["evaluated"]["last"] == 359
    for name in ("local", "global"):
        values = rounds[f"alma_{name}"].to_pylist()
        best = rounds["evaluated"].to_pylist()[int(np.argmax(values))]
        assert sampled.summary["evaluated"][f"best_{name}"] == best
    assert "local_se" not in sampled.clients["metric"].to_pylist()


def test_a_subset_estimates_what_the_whole_gives(sampled, tmp_path):
    settings = TINY | {"rounds": 3, "evaluate.samples": None, "fraction": 0.6}
    whole = simulate("knfu", run_dir=str(tmp_path / "run"), **settings)
    assert whole.summary["digest"] == sampled.summary["digest"]
    assert whole.rounds["evaluated"].to_pylist() == [359] * 3
    some, every = sampled.rounds.to_pylist(), whole.rounds.to_pylist()
    for name in ("local", "global"):
        assert some[2][f"alma_{name}"] == every[2][f"alma_{name}"]
        assert every[0][f"alma_{name}_se"] is None
        for few, all_ in zip(some[:2], every[:2], strict=True):
            off = abs(few[f"alma_{name}"] - all_[f"alma_{name}"])
            assert off < 4 * few[f"alma_{name}_se"]


def test_without_checkpoints_the_last_round_is_measured_once(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        Measurements, "complete", lambda self, plan, *_: asked.append(plan.evaluate) or 0.0
    )
    settings = TINY | {"evaluate.samples": 150, "fraction": 0.6, "checkpoint.every": None}
    run = simulate("knfu", run_dir=str(tmp_path / "once"), **settings)
    assert run.rounds["evaluated"].to_pylist() == [150, 359]
    assert asked == []
    simulate("knfu", run_dir=str(tmp_path / "run"), **settings | {"checkpoint.every": 1})
    assert asked == [150]


def test_numbers_on_another_subset_are_measured_anew(tmp_path):
    settings = TINY | {"rounds": 2, "fraction": 0.4, "evaluate.samples": 50}
    run_dir = tmp_path / "run"
    simulate("knfu", run_dir=str(run_dir), **settings)
    more = {"rounds": 4, "force": True, "evaluate.samples": 100}
    extended = fedkd.resume(run_dir, **more)
    assert extended.rounds["evaluated"].to_pylist() == [50, 50, 100, 359]
    straight = simulate("knfu", **settings | {"rounds": 4, "evaluate.samples": 100})
    for name in ("alma_local", "alma_local_se", "alma_global"):
        assert extended.rounds[name].to_pylist()[2:] == straight.rounds[name].to_pylist()[2:]


@pytest.mark.parametrize("rounds", [10, 19, 25, 100, 777])
def test_auto_has_ten_points_and_does_not_depend_on_the_last_round(rounds):
    config = EvaluateConfig(every="auto")
    due = [number for number in range(1, rounds + 1) if config.due(number)]
    assert len(due) >= 10
    assert due[:19] == list(range(1, min(rounds, 19) + 1))
    assert len(due) < 20 + 10 * np.log2(rounds)
    gaps = np.diff([*due, rounds])
    assert (gaps <= np.maximum(1, np.array(due) / 5)).all()


def test_auto_takes_2000_where_there_are_more():
    assert EvaluateConfig().subset(2_000) == EvaluateConfig(samples=None).subset(9_000) == 0
    assert EvaluateConfig().subset(2_001) == 2_000
    assert EvaluateConfig(samples=500).subset(400) == 0


@pytest.mark.parametrize("key", ["every", "samples"])
@pytest.mark.parametrize("value", ["some", 0, -3])
def test_what_is_neither_auto_nor_a_number_is_refused(key, value):
    message = rf"evaluate\.{key}={value}: must be auto or at least 1"
    with pytest.raises(ConfigError, match=message):
        RunConfig(evaluate=EvaluateConfig(**{key: value})).check()


def test_a_subset_has_some_of_each_class():
    with pytest.raises(ConfigError, match=r"evaluate.samples=9: must be at least 10, one of each"):
        simulate("knfu", **TINY, **{"evaluate.samples": 9})
