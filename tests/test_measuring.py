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

from fedkd import simulate
from fedkd.config import RunConfig
from fedkd.data import calibration_error
from fedkd.report import Run
from fedkd.rounds.measuring import Measurements, worst
from fedkd.rundir.summary import derive

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
    measured = Measurements(3)
    measured.current = {
        client: {"local": 0.1 * client, "global": 0.5, "ece": 0.2 * client} for client in range(3)
    }
    columns = measured.columns(evaluated=True)
    assert list(columns) == [
        "alma_local", "alma_local_std", "alma_local_worst",
        "alma_global", "alma_global_std", "alma_global_worst",
        "alma_ece", "alma_ece_std",
    ]  # fmt: skip
    assert columns["alma_local_worst"] == 0
    assert columns["alma_ece"] == pytest.approx(0.2)
    assert set(measured.columns(evaluated=False).values()) == {None}
    assert "alma_ece" not in Measurements(3).columns(evaluated=False)


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
    assert keys[start : start + 6] == [
        "alma_local", "alma_global", "worst_decile", "ece", "privacy", "rejected"
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

    monkeypatch.setattr("fedkd.clients.workbench.calibration_error", counted)
    bench = Workbench((result.run_dir / "spec.json").read_text())
    _, y = bench.test(None)
    logits = torch.randn(len(y), 10)
    numbers = [bench.accuracy(client, logits, y) for client in range(12)]
    assert len(calls) == 1
    assert len({one["ece"] for one in numbers}) == len({one["global"] for one in numbers}) == 1
    assert len({one["local"] for one in numbers}) > 1
    assert bench.accuracy(0, logits.clone(), y) == numbers[0]
    assert len(calls) == 2


def test_a_run_of_an_earlier_version_can_be_read(result, tmp_path):
    summary = {k: v for k, v in result.summary.items() if k not in ("worst_decile", "ece")}
    rounds = result.rounds
    old = [name for name in rounds.column_names if "worst" not in name and "ece" not in name]
    derived = derive(RunConfig().to_dict(), rounds.select(old))
    assert derived["worst_decile"] == {"local": None, "global": None}
    assert derived["ece"] is None
    run_dir = tmp_path / "old"
    run_dir.mkdir()
    (run_dir / "summary.json").write_text(json.dumps(summary))
    (run_dir / "config.yaml").write_text(yaml.safe_dump(RunConfig().to_dict()))
    pq.write_table(rounds.select(old), run_dir / "rounds.parquet")
    assert Run.load(run_dir).summary["ece"] is None


def test_a_checkpoint_of_an_earlier_version_goes_on():
    measured = Measurements(2)
    measured.load({"current": {"0": {"local": 0.5, "global": 0.5}}, "stale": [1]})
    measured.current[1] = {"local": 0.7, "global": 0.7, "ece": 0.3}
    assert measured.columns(evaluated=True)["alma_ece"] == 0.3
    assert SimpleNamespace(**measured.save()).stale == [1]
