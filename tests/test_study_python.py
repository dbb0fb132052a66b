"""Studies from Python: the command line's, by the same names and hashes, and what they came to."""

import re
import sys
from multiprocessing.spawn import get_preparation_data
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fedkd.strategies.fedmd import FedMD
from support import fedkd as command
from test_notebook import Kernel, Page, kernel  # noqa: F401

import fedkd
from fedkd import Study
from fedkd.errors import ConfigError
from fedkd.run import parallel
from fedkd.run.study import running
from fedkd.run.study.dealing import spanned
from fedkd.rundir.study import StudyFolder, key

SMALL: dict[str, Any] = {
    "clients": 3,
    "rounds": 1,
    "data.samples_per_client": 20,
    "transfer": {"size": 40},
    "engine": "inline",
}
WORDS = ["clients=3", "rounds=1", "data.samples_per_client=20", "transfer.size=40", "engine=inline"]
BROKEN = """
from fedkd.strategies.fedmd import FedMD

class Mine(FedMD):
    def fuse(self, knowledge):
        raise ZeroDivisionError("<oops>")
"""


@pytest.fixture(scope="module")
def grid(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("studies") / "grid"
    about = {"hypothesis": "More <b>knowledge</b> is better.", "tags": ("pilot",)}
    axes = {"strategy": ["local", FedMD]}
    return fedkd.study(grid=axes, seeds=range(2), run_dir=folder, **about, **SMALL)


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command draw no page, which takes longer than all the runs."""
    monkeypatch.setattr("fedkd.report.render", lambda runs, out=None: out)


def test_the_command_line_finds_what_python_began(grid: Study) -> None:
    words = [*WORDS, "strategy=local,fedkd.strategies.fedmd:FedMD", "seed=0,1"]
    known = {run.name: key(run.config.to_dict()) for run in spanned(words)[1]}
    assert {name: one.key for name, one in StudyFolder(grid.run_dir).entries.items()} == known
    done = command("run", f"resume={grid.run_dir}")
    assert (done.exit_code, "4 finished" in done.stderr) == (0, True), done.output


def test_python_goes_on_with_what_the_command_line_began(tmp_path: Path) -> None:
    where = tmp_path / "study"
    assert command("run", "-m", *WORDS, "seed=0,1", f"run_dir={where}").exit_code == 0
    before = Study(where).to_pandas()
    for file in ("summary.json", "config.yaml"):
        (where / "seed-1" / file).unlink()
    halted = Study(where)
    assert "1 finished, 1 waiting; stopped" in repr(halted)
    assert halted.to_pandas()["state"].tolist() == ["finished", "waiting"]
    assert halted.table()["seeds"].tolist() == [1]
    assert np.isnan(halted.table()["score_local_std"][0])
    done = fedkd.study(resume=where)
    assert done.to_pandas()["digest"].tolist() == before["digest"].tolist()


def test_its_tables_are_those_of_its_runs(grid: Study) -> None:
    rows = grid.to_pandas()
    assert rows["run"].tolist() == [run.path.name for run in grid.runs]
    assert rows["score_local"].tolist() == [r.summary["alma_local"]["last"] for r in grid.runs]
    means = rows.groupby("strategy", sort=False)
    table = grid.table().set_index("strategy")
    for name in ("score_local", "score_global", "bytes_up"):
        assert table[name].tolist() == pytest.approx(means[name].mean().tolist())
    assert table["score_global_std"].tolist() == pytest.approx(means["score_global"].std().tolist())
    found = grid.compare(by="strategy", metric="bytes_up", baseline="local")
    assert found.to_pandas() is found.table
    assert fedkd.compare(grid).values["value"].size == 4
    assert grid.plot_curves().axes


def test_settings_that_are_numbers_are_numbers_in_its_tables(cache: Path, tmp_path: Path) -> None:
    same = {key: value for key, value in SMALL.items() if key != "rounds"}
    found = fedkd.study(grid={"rounds": [1, 2]}, seeds=[0], run_dir=tmp_path / "study", **same)
    assert found.to_pandas()["rounds"].tolist() == [1, 2]
    assert found.table()["rounds"].dtype == np.dtype("int64")
    compared = found.compare(by="rounds", metric="bytes_up", baseline=1)
    assert compared.table["arm"].tolist() == ["1", "2"]
    assert fedkd.compare(found.runs).values["value"].size == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"runs": None}, "runs=null: must be a folder"),
        ({"runs": {"a": "runs/a"}}, "of a dict, its values"),
        ({"metric": None}, "metric=null: must be the name"),
        ({"by": 5}, "by=5: must be names of keys"),
        ({"baseline": 5}, "baseline=5: no such arm"),
    ],
)
def test_what_cannot_be_compared_is_named(grid: Study, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fedkd.compare(**{"runs": grid, **given})


@pytest.mark.parametrize("folder", [5, ""])
def test_a_folder_that_is_no_path_is_refused(folder: Any) -> None:
    with pytest.raises(ConfigError, match=f"run_dir={folder}: must be the path"):
        fedkd.study(seeds=[0], run_dir=folder)


def test_a_notebook_shows_a_study(grid: Study) -> None:
    text = Page(grid._repr_html_()).text
    for part in (
        "More <b>knowledge</b>",
        "runs 4: 4 finished; done",
        "± std over seeds",
        "1 round",
    ):
        assert part in text
    assert repr(grid) == f"<Study {grid.run_dir}, runs 4: 4 finished; done>"
    assert "4: 4 finished" in repr(grid.status())
    assert "1 of 1" in Page(grid.status()._repr_html_()).text
    assert repr(grid.runs[0]).startswith("<Run local on digits: 3 clients, 1 round, ALMA local ")
    assert grid.runs[0].summary["digest"][:16] in Page(grid.runs[0]._repr_html_()).text


def test_a_failed_run_is_warned_of_and_run_again_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    given = {"grid": {"strategy": [f"{file}:Mine", "local"]}, "run_dir": tmp_path / "study"}
    with pytest.warns(RuntimeWarning, match=r"1 of 2 runs failed \(strategy-Mine: .*<oops>"):
        done = fedkd.study(**given, **SMALL)
    assert list(done.failures) == ["strategy-Mine"]
    assert "ZeroDivisionError: <oops>" in Page(done._repr_html_()).text
    assert done.to_pandas()["error"].str.contains("oops").tolist() == [True, False]
    assert done.table()["strategy"].tolist() == ["local"]
    assert "failed  strategy-Mine" in repr(done.status())
    file.write_text(
        BROKEN.replace('raise ZeroDivisionError("<oops>")', "return super().fuse(knowledge)")
    )
    assert fedkd.study(done, retry_failed=True).failures == {}


def test_an_interrupted_study_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        fedkd.study(seeds=[0, 1], run_dir=tmp_path, **SMALL)
    assert stop.value.__notes__ == [f"fedkd.study({str(tmp_path)!r}) goes on with it"]
    none = Study(tmp_path)
    assert none.runs == []
    assert none.table().empty
    assert none.to_pandas()["state"].tolist() == ["waiting"] * 2
    assert "2: 2 waiting" in Page(none._repr_html_()).text
    for ask in (none.compare, none.plot_curves):
        with pytest.raises(ConfigError):
            ask()


def test_a_study_of_numbers(tmp_path: Path) -> None:
    """One seed, and a task without accuracy."""
    done = fedkd.study(grid={"task": ["regression"]}, run_dir=tmp_path, **SMALL, strategy="local")
    text = Page(done._repr_html_()).text
    assert "RMSE local" in text
    assert "± std over clients" in text
    assert done.to_pandas()["score_local"].gt(0).all()


@pytest.mark.parametrize("as_file", [True, False])
def test_a_studys_file_and_what_is_in_one(
    as_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"hypothesis": "a", "grid": {"fit.lr": [0.1]}, "settings": dict(SMALL), "seeds": 0}
    Path("pilot.yaml").write_text(yaml.safe_dump(content))
    source = "pilot.yaml" if as_file else content
    done = fedkd.study(source, hypothesis="b", seeds=[1], fit={"lr": 0.2})
    assert done.run_dir.name == "pilot" if as_file else done.run_dir.name.endswith("-sweep")
    (run,) = done.runs
    assert (run.config["seed"], run.config["fit"]["lr"], run.config["clients"]) == (1, 0.2, 3)
    assert done.definition.words == {"hypothesis": "b"}


X = np.zeros((4, 2))


class Local:
    """Has a name that can be imported, if this file can."""


Local.__module__ = "__main__"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": 3}, r"seeds=3: is one number; say range\(3\) for that many seeds, or \[3\]"),
        ({"seeds": []}, r"seeds=\[\]: has no value: no run at all; give one"),
        ({"grid": {"strategy": []}}, r"strategy=\[\]: has no value: no run at all"),
        ({"grid": {"strateg": ["local"]}}, "strateg=local: unknown key; did you mean 'strategy'"),
        ({"grid": ["local"]}, "grid=.*: must be a mapping of keys"),
        ({"grid": {"strategy": [Local]}}, r"strategy=.*: is a Python object \(Local\), which"),
        ({"data": (X, X)}, r"data=ndarray\[4, 2\]: is a Python object .* or a file of data"),
        ({"grid": {"data": pd.DataFrame(X)}}, r"data=DataFrame\[4, 2\]: is a Python object"),
        ({"fit": {"lr": X}}, r"fit\.lr=ndarray\[4, 2\]: is a Python object"),
        ({"parallel": "many"}, "study.parallel=many: must be off, auto or a number"),
        ({"grid": {"resume": ["runs/a"]}}, "resume=.*: a study's runs are its own"),
        ({"overrides": ["resume=runs/a"]}, "resume=.*: a study's runs are its own"),
        ({"grid": {"run_dir": ["runs/a"]}}, "run_dir=.*: a study has one folder"),
        ({"source": "."}, "study=.: is no study's folder: study.yaml is missing"),
        ({"source": "gone.yaml"}, "study=gone.yaml: cannot be read as a study"),
        ({"source": {"grids": {}}}, "grids=.*: unknown key of a study; did you mean 'grid'"),
        (
            {"grid": {"seed": [1]}, "seeds": [2]},
            r"seed=\[2\]: is in grid and seeds; leave it out of one",
        ),
        ({"grid": {"rounds": [1]}, "rounds": 2}, r"rounds=\[1\]: is in settings and grid; leave"),
        ({"clients": 0}, "clients=0: must be auto or at least 1"),
    ],
)
def test_what_is_no_study_is_refused(
    given: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as error:
        fedkd.study(**given)
    assert len(str(error.value).splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_there_keeps_its_place(grid: Study) -> None:
    with pytest.raises(ConfigError, match=r"run_dir=elsewhere: .* is to go on, where it is"):
        fedkd.study(grid, run_dir="elsewhere")
    with pytest.raises(ConfigError, match="would be left over"):
        fedkd.study(grid, seeds=[0])
    with pytest.raises(ConfigError, match=r"is no study's folder: runs\.json is missing"):
        Study(grid.run_dir / "gone")


def test_a_study_in_a_notebook_is_one_line(
    grid: Study,
    kernel: Kernel,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    fedkd.study(seeds=[0, 1], run_dir=tmp_path, **SMALL)
    assert len(kernel.cells) == 1
    shown = [text for text, _ in kernel.cells[0]]
    assert any(text.startswith("run 2 of 2 (left ") for text in shown)
    assert re.match(r"2 runs finished in \S+ s\n", shown[-1])
    assert f"study {tmp_path}: 2 to run" in shown[-1]
    assert capfd.readouterr() == ("", "")


def test_a_process_that_is_started_does_not_execute_the_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would begin the study anew, where the script has no guard."""
    executed = {"init_main_from_name", "init_main_from_path"}
    before = ModuleType("__main__")  # this process may have been started with no script
    before.__file__ = __file__
    monkeypatch.setitem(sys.modules, "__main__", before)
    assert executed & set(get_preparation_data("a run"))
    with parallel.no_script():
        assert not executed & set(get_preparation_data("a run"))
    assert sys.modules["__main__"] is before
