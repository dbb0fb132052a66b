import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fedkd.errors import ConfigError
from fedkd.report import Run, find_runs, load_runs


def test_a_finished_run_reads_back(make_run):
    run = Run.load(make_run("a", local=(0.5, 0.8), overall=(0.3, 0.4)))
    assert run.finished
    assert run.strategy == "knfu"
    assert run.config["clients"] == 20
    assert run.column("alma_local").tolist() == [0.5, 0.8]
    assert np.isnan(run.column("nothing")).all()
    assert run.histogram.shape == (20, 10)
    clients, values = run.values("local")
    assert clients.tolist() == list(range(20))
    assert values.shape == (20,)


def test_weights_of_the_last_round_or_of_one(make_run):
    run = Run.load(make_run("a", local=(0.5,) * 12, overall=(0.5,) * 12))
    clients, weights = run.weights()
    assert clients.tolist() == list(range(20))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert run.weights(round=3) is not None
    assert run.weights(round=13) is None
    assert Run.load(make_run("b", weights=False)).weights() is None


def test_values_come_from_the_last_round_that_has_them(make_run):
    run = Run.load(make_run("a", accuracies=[k / 20 for k in range(20)]))
    assert run.values("local")[1].tolist() == [k / 20 for k in range(20)]
    assert run.values("none")[0].size == 0


def test_an_interrupted_run_gets_the_summary_that_its_tables_allow(make_run):
    done = Run.load(make_run("a", local=(0.5, 0.8, 0.7), overall=(0.3, 0.4, 0.2)))
    cut = Run.load(make_run("b", local=(0.5, 0.8, 0.7), overall=(0.3, 0.4, 0.2), finished=False))
    assert not cut.finished
    for key in ("strategy", "data", "clients", "rounds", "seed", "engine", "alma_local"):
        assert cut.summary[key] == done.summary[key]
    assert cut.summary["bytes_up"] == 3 * (1_000_000 // 3)
    assert cut.summary["seconds"]["total"] == pytest.approx(3.75)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("config.yaml", "config.yaml missing"), ("rounds.parquet", "rounds.parquet missing")],
)
def test_a_folder_that_is_no_run_says_what_is_missing(make_run, name, problem):
    path = make_run("a")
    (path / name).unlink()
    with pytest.raises(ConfigError, match=f"{problem}$"):
        Run.load(path)


def test_a_folder_of_runs_is_no_run_and_says_what_reads_it(make_run):
    with pytest.raises(ConfigError, match=r"missing; name one of the runs in it, or use fedkd"):
        Run.load(make_run("study/a").parent)


def test_missing_folder(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        find_runs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["config.yaml", "rounds.parquet", "clients.parquet", "summary.json"]
)
def test_a_broken_file_is_one_line(make_run, name):
    path = make_run("a")
    (path / name).write_bytes(b"{\x00broken")
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Run.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00broken", b"PK\x05\x06"])
def test_broken_weights_are_one_line(make_run, content):
    path = make_run("a")
    (path / "weights.npz").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        Run.load(path).weights()


def test_an_incomplete_summary_names_the_key(make_run):
    path = make_run("a")
    (path / "summary.json").write_text(json.dumps({"strategy": "knfu"}))
    with pytest.raises(ConfigError, match="alma_local"):
        Run.load(path)


def test_find_runs_in_natural_order_each_once(make_run, tmp_path):
    for name in ("sweep/run-10", "sweep/run-2", "alone"):
        make_run(name)
    found = find_runs([tmp_path / "alone", tmp_path / "sweep", tmp_path / "alone"])
    assert [path.name for path in found] == ["alone", "run-2", "run-10"]
    assert len(find_runs(tmp_path)) == 3


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(ConfigError, match="neither a run directory nor a folder of them"):
        find_runs(tmp_path)


def test_no_run_at_all():
    with pytest.raises(ConfigError, match="no run directory given"):
        load_runs([])


def test_who_was_away_last_counts_as_last_measured(make_run):
    path = make_run("a", clients=3, accuracies=[0.1, 0.2, 0.3])
    table = pq.read_table(path / "clients.parquet")
    away = pc.and_(pc.equal(table["round"], 2), pc.equal(table["client"], 1))
    table = table.filter(pc.invert(away))
    changed = [0.9 if row["round"] == 2 else row["value"] for row in table.to_pylist()]
    place = table.column_names.index("value")
    pq.write_table(table.set_column(place, "value", [changed]), path / "clients.parquet")
    clients, values = Run.load(path).values("local")
    assert (clients.tolist(), values.tolist()) == ([0, 1, 2], [0.9, 0.2, 0.9])
