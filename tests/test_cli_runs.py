"""The command line end to end: what it leaves behind, and every mistake in one line."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from support import fedkd

from fedkd.rundir.digest import digest_of

PROBE = Path(__file__).parent / "plugins" / "probe.py"
EXAMPLES = Path(__file__).parents[1] / "experiments" / "plugins"
SMALL = ["clients=5", "rounds=2", "engine=inline"]
CONTRACT = [
    *("schema", "strategy", "data", "clients", "rounds", "seed", "engine"),
    *("task", "metric", "more_is_better", "score_local", "score_global"),
    *("alma_local", "alma_global", "tested", "evaluated", "worst_decile", "ece", "privacy"),
    *("rejected", "diverged", "restarts", "bytes_up", "bytes_down"),
    *("seconds", "digest", "versions"),
]


def test_a_run_leaves_the_run_directory_of_the_contract(tmp_path, report):
    run_dir = tmp_path / "run"
    done = fedkd("run", *SMALL, "record.knowledge=true", f"run_dir={run_dir}")
    assert done.exit_code == 0, done.output
    summary = json.loads((run_dir / "summary.json").read_text())
    assert list(summary) == CONTRACT
    assert set(summary["alma_local"]) == {"last", "best", "std"}
    assert set(summary["seconds"]) == {"total", "fit", "fuse", "distil", "evaluate", "startup"}
    assert summary["digest"] == digest_of(run_dir / "models")
    assert summary["digest"][:16] in done.output
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["transfer"]["size"] == 200
    assert config["objective"]["name"] == "kl"
    rounds = pq.read_table(run_dir / "rounds.parquet").to_pylist()
    assert [row["round"] for row in rounds] == [1, 2]
    assert rounds[-1]["alma_local"] == summary["alma_local"]["last"]
    # 5 clients upload 200 samples: 10 float32 and an int32 id each, and two npy headers.
    assert rounds[0]["bytes_up"] == pytest.approx(5 * 200 * 44, rel=0.05)
    assert (run_dir / "knowledge" / "round_0002.safetensors").exists()
    assert (run_dir / "weights.npz").exists()
    assert "<html" in (run_dir / "report.html").read_text()
    assert len(list((run_dir / "models").glob("client_*.safetensors"))) == 5


def test_a_sweep_compares_its_runs(tmp_path):
    sweep = ["-m", "strategy=local,knfu", f"run_dir={tmp_path}/sweep"]
    done = fedkd("run", *SMALL, *sweep)
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {
        *("strategy-local", "strategy-knfu"),
        *("report.html", "study.yaml", "runs.json", ".seal"),
    }
    compared = fedkd("compare", tmp_path / "sweep", "--out", tmp_path / "again.html")
    assert compared.exit_code == 0
    for shown in (done.output, compared.output):
        assert "local" in shown
        assert "knfu" in shown
        assert "ALMA" in shown
    assert (tmp_path / "again.html").exists()


def test_dry_run_starts_nothing(tmp_path):
    done = fedkd("run", *SMALL, "--dry-run", f"run_dir={tmp_path}/run")
    assert done.exit_code == 0, done.output
    assert "memory" in done.output
    assert not (tmp_path / "run").exists()


BAD = {
    "roundz=3": "roundz=3: unknown key; did you mean 'rounds'?",
    "strategy.bata=3": "did you mean 'strategy.beta'?",
    "strategy=knf": "did you mean 'knfu'?",
    "data=minst": "did you mean 'mnist'?",
    "model=lenet": "did you mean 'lenet5'?",
    "objective=kll": "did you mean 'kl'?",
    "engine=rai": "did you mean 'ray'?",
    "clients=many": "clients=many: must be auto or at least 1",
    "fit.lr=fast": "fit.lr=fast: must be a number",
    "clients=0": "clients=0: must be auto or at least 1",
    "rounds=0": "rounds=0: must be at least 1",
    "clients=100000": "clients=100000:",
    "data.alpha=0": "data.alpha=0",
    "data.alpha=-1": "data.alpha=-1",
    "transfer.size=5000": "transfer.size=5000:",
    "transfer.per_round=201": "transfer.per_round=201:",
    "fraction=0": "fraction=0",
    "strategy.beta=-1": "beta=-1",
    "strategy.distance=manhattan": "strategy.distance=manhattan:",
    "strategy=./nowhere.py:Mine": "nowhere.py",
    f"strategy={PROBE}:Absent": "Absent",
    f"strategy={PROBE}:NotAClass": "not a class",
    f"strategy={PROBE}:Probe": "not a subclass",
    "data=/nowhere/at/all": "data=/nowhere/at/all:",
    "device=gpu": "device=gpu:",
    "rounds=[": "rounds=[",
    "model=[]": "model=[]",
    "seed=1,2": "-m",
    "data.partitioner=pathologic": "did you mean 'pathological'?",
}


@pytest.mark.parametrize("override", BAD)
def test_a_mistake_is_one_line_and_exit_code_2(override, tmp_path):
    done = fedkd("run", *SMALL, override, f"run_dir={tmp_path}/run")
    assert done.exit_code == 2, done.output
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert BAD[override] in lines[0]
    assert not isinstance(done.exception, (TypeError, ValueError, KeyError, AttributeError))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_plug_in_that_does_not_import(tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    done = fedkd("run", *SMALL, f"strategy={tmp_path}/broken.py:Mine", f"run_dir={tmp_path}/run")
    assert done.exit_code == 2
    assert "nothing_of_that_name" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_empty_client_is_refused(tmp_path):
    partition = ["data.samples_per_client=null", "data.partitioner=dirichlet", "data.alpha=0.001"]
    some = ["clients=60", "data.min_partition_size=8", "engine=inline"]
    done = fedkd("run", *some, *partition, f"run_dir={tmp_path}/run")
    assert done.exit_code == 2, done.output
    assert "data." in done.stderr


def test_a_folder_without_the_columns(tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "train.parquet")
    done = fedkd("run", *SMALL, f"data={tmp_path}", f"run_dir={tmp_path}/run")
    assert done.exit_code == 2
    assert "text" in done.stderr


def test_a_run_directory_is_never_overwritten(tmp_path):
    run_dir = f"run_dir={tmp_path}/run"
    assert fedkd("run", *SMALL, "rounds=1", run_dir).exit_code == 0
    before = (tmp_path / "run" / "summary.json").read_text()
    done = fedkd("run", *SMALL, run_dir)
    assert done.exit_code == 2
    assert "already holds a run" in done.stderr
    assert (tmp_path / "run" / "summary.json").read_text() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("WrongShape", ["WrongShape", "shape", "[200, 9]", "[200, 10]"]),
        ("NotANumber", ["NotANumber", "finite", "NaN"]),
        ("Negative", ["Negative", "simplex", "below 0"]),
        ("Raises", ["Raises", "ZeroDivisionError", "oops"]),
    ],
)
def test_a_plug_in_that_misbehaves_fails_the_run(name, words, tmp_path):
    done = fedkd("run", *SMALL, f"strategy={PROBE}:{name}", f"run_dir={tmp_path}/run")
    assert done.exit_code == 1, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert all(word in last for word in words), last
    assert "Traceback" not in done.output
    assert (tmp_path / "run" / "log.txt").read_text()
    assert pq.read_table(tmp_path / "run" / "rounds.parquet").num_rows == 0


def test_one_hostile_client_is_dropped_and_named(tmp_path):
    done = fedkd("run", *SMALL, f"client={PROBE}:Hostile", f"run_dir={tmp_path}/run")
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rejected"] == 2
    assert summary["alma_local"]["last"] > 0
    assert "client 0" in done.output
    assert "finite" in done.output


def test_examples_run_from_a_file_and_from_a_module(tmp_path):
    for i, name in enumerate(
        (f"{EXAMPLES}/nearest.py:Nearest", "fedkd.experiments.plugins.nearest:Nearest")
    ):
        chosen = [f"strategy={name}", "strategy.beta=5", f"run_dir={tmp_path}/{i}"]
        assert fedkd("run", *SMALL, *chosen).exit_code == 0
    digests = {json.loads((tmp_path / f"{i}/summary.json").read_text())["digest"] for i in range(2)}
    assert len(digests) == 1
