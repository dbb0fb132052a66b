"""The benchmark of fusion runs real rounds, and says so where there are no numbers."""

import json
from types import SimpleNamespace

import pytest
import typer
from fedkd.experiments.benchmarks import fuser, fusion, measure
from fedkd.experiments.benchmarks.systems import FUSION, METHODS
from fedkd.experiments.benchmarks.works import Job
from typer.testing import CliRunner


def run(*given: str) -> object:
    app = typer.Typer()
    app.command()(fusion.command)
    return CliRunner().invoke(app, list(given))


@pytest.mark.parametrize("method", METHODS)
def test_a_job_is_a_whole_round(method):
    job = Job(FUSION, method, {"clients": 4, "samples": 300, "classes": 3}, "", "")
    told = fuser.run(job)
    assert set(told["seconds"]) >= {"fit", "fuse", "distil"}
    assert min(told["peak"], told["before"]) > 0  # the system counts in batches of pages


@pytest.mark.slow
def test_the_command_writes_json_and_a_figure_and_adds_to_them(tmp_path):
    file, picture = tmp_path / "out.json", tmp_path / "out.png"
    where = ("--json", str(file), "--figure", str(picture), "--sizes", "3x20x4")
    for method in ("mean", "knfu"):
        done = run(*where, "--methods", method)
        assert done.exit_code == 0, done.output
    told = json.loads(file.read_text())
    assert [cell["method"] for cell in told["cells"]] == ["mean", "knfu"]
    assert all(min(cell["peak"], cell["before"]) > 0 for cell in told["cells"])
    assert picture.stat().st_size > 1000


def test_what_cannot_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr(fusion.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    monkeypatch.setattr(fusion, "observe", lambda *given: pytest.fail("it was tried"))
    cell = fusion.measured(fusion.Cell("knfu", 10_000, 2000, 10), 5)
    assert cell.seconds is None
    assert cell.error.startswith("not tried: needs about")


def test_what_takes_too_long_or_dies_has_no_numbers(monkeypatch):
    lost = measure.Observation(0.0, 5.0, [], error="no result after 5 s")
    monkeypatch.setattr(fusion, "observe", lambda *given: lost)
    cell = fusion.measured(fusion.Cell("knfu", 3, 20, 4), 5)
    assert (cell.seconds, cell.error) == (None, "no result after 5 s")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--sizes", "100x20"], "sizes=100x20: must be CLIENTSxSAMPLESxCLASSES"),
        (["--sizes", "0x20x5"], "sizes=0x20x5"),
        (["--methods", "knfuu"], "did you mean 'knfu'"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(given, message):
    done = run(*given)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
