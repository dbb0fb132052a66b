"""Whatever is in a run directory's files: a result or a line, never a traceback."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support import fedkd

SMALL = ["clients=4", "rounds=2", "engine=inline", "record.knowledge=true", "checkpoint.every=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a finished run with recordings."""
    run_dir = tmp_path_factory.mktemp("good") / "run"
    assert fedkd("run", *SMALL, "strategy=knfu", f"run_dir={run_dir}").exit_code == 0
    return run_dir


REPORT, RESUME = ("report", "{}"), ("run", "resume={}", "rounds=3")
UPLOADS = ("attack", "{}", "--attack", "label_distribution")
MODELS = ("attack", "{}", "--attack", "membership")
FILES = {
    "config.yaml": [REPORT, RESUME],
    "spec.json": [MODELS],
    "summary.json": [REPORT],
    "rounds.parquet": [REPORT],
    "clients.parquet": [REPORT],
    "split.npz": [REPORT, UPLOADS, RESUME],
    "weights.npz": [REPORT],
    "models/client_00000.safetensors": [MODELS],
    "knowledge/round_0002.safetensors": [UPLOADS],
    "checkpoint/round_00002/manifest.json": [RESUME],
    "checkpoint/round_00002/state.json": [RESUME],
}
"""A file, and the commands that read it."""

CONTENTS = {
    "nothing": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "binary": lambda data: bytes(range(256)) * 8,
    "a list": lambda data: b"[1, [2]]",
    "another mapping": lambda data: b'{"a": {"b": null}}',
    "deep": lambda data: b"[" * 100_000,
}


def check(file, run_dir):
    """Have every command that reads a file read it."""
    for command in FILES[file]:
        done = fedkd(*(word.format(run_dir) for word in command))
        assert done.exit_code in (0, 1, 2), done.exception
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        if done.exit_code:
            (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert len(line) < 2000


@pytest.fixture
def broken(run, tmp_path):
    """Return a function that copies the run."""
    return lambda: Path(shutil.copytree(run, tmp_path / "run"))


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("file", FILES)
def test_a_broken_file_is_a_line(file, content, broken):
    run_dir = broken()
    path = run_dir / file
    path.write_bytes(CONTENTS[content](path.read_bytes()))
    check(file, run_dir)
    if file == "config.yaml" and content == "binary":
        assert fedkd("run", f"resume={run_dir}").exit_code == 2


def test_a_configuration_that_holds_itself_is_a_line(broken):
    run_dir = broken()
    (run_dir / "config.yaml").write_text("model: &a [*a]\n")
    check("config.yaml", run_dir)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_a_line(file, broken):
    run_dir = broken()
    (run_dir / file).unlink()
    check(file, run_dir)


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, 3, []], ids=repr)
@pytest.mark.parametrize("file", ["summary.json", "spec.json", "config.yaml"])
def test_values_of_other_types_are_a_line(file, value, broken):
    run_dir = broken()
    whole = yaml.safe_load((run_dir / file).read_text())  # JSON is YAML
    for key in whole:
        if type(whole[key]) is not type(value):
            (run_dir / file).write_text(json.dumps(whole | {key: value}))
            check(file, run_dir)


TABLES = {
    "no columns": pa.table({}),
    "other columns": pa.table({"a": [1, 2]}),
    "text": pa.table(
        {"round": ["one", "two"], "client": ["a", "b"], "metric": [1, 2], "value": ["x", "y"]}
    ),
    "lists": pa.table({"round": [[1], [2]], "client": [[1], [2]], "metric": [[1], [2]]}),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("file", ["rounds.parquet", "clients.parquet"])
def test_other_tables_are_a_line(file, table, broken):
    run_dir = broken()
    pq.write_table(TABLES[table], run_dir / file)
    check(file, run_dir)


@pytest.mark.parametrize("file", ["split.npz", "weights.npz"])
def test_pickled_arrays_are_not_read(file, broken):
    run_dir = broken()
    with np.load(run_dir / file) as arrays:
        content = {name: np.array([print], object) for name in arrays.files}
    np.savez(run_dir / file, **content)
    check(file, run_dir)
