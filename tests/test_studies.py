"""Studies: called again, a study does what is left to do, and says what it will not do."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from support import LIMIT, fedkd, wait_until
from test_cli_signals import COMMAND

from fedkd.config.definition import Definition
from fedkd.config.overrides import compose
from fedkd.engine.cluster import cores
from fedkd.errors import ConfigError
from fedkd.run.study.naming import named
from fedkd.run.study.planning import going_on
from fedkd.rundir import freezing
from fedkd.rundir.freezing import Frozen
from fedkd.rundir.locking import locked
from fedkd.rundir.study import StudyFolder

SMALL = [
    *("clients=3", "rounds=2", "data.samples_per_client=20", "transfer.size=40"),
    *("engine=inline", "checkpoint.every=1"),
]

PLUG_IN = """
from pathlib import Path
from fedkd.strategies.fedmd import FedMD

class Mine(FedMD):
    def fuse(self, knowledge):
        if (Path(__file__).parent / "broken").exists():
            raise ZeroDivisionError("oops")
        return super().fuse(knowledge)
"""


EDITING = """
from pathlib import Path
from fedkd.strategies.fedmd import FedMD

class Mine(FedMD):
    def fuse(self, knowledge):
        with Path(__file__).open("a") as file:
            file.write("#")
        return super().fuse(knowledge)
"""


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no page drawn, which takes longer than all the runs."""
    monkeypatch.setattr("fedkd.report.render", lambda runs, out=None: out)


def study(folder: Path, *words: str) -> Any:
    return fedkd("run", "-m", *SMALL, f"run_dir={folder}", *words)


def digests(folder: Path) -> dict[str, str]:
    found = sorted(folder.glob("*/summary.json"))
    return {path.parent.name: json.loads(path.read_text())["digest"] for path in found}


def written(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/summary.json")}


def interrupt(run_dir: Path) -> None:
    """Have a run as it is when it was killed after its first round."""
    (run_dir / "summary.json").unlink()
    last = max((run_dir / "checkpoint").iterdir())
    for file in last.iterdir():
        file.unlink()
    last.rmdir()


# -- called again --------------------------------------------------------------------------------


def test_a_study_called_again_does_what_is_left(tmp_path: Path) -> None:
    words = ["strategy=local,fedmd", "seed=0,1"]
    assert study(tmp_path, *words).exit_code == 0
    whole, before = digests(tmp_path), written(tmp_path)
    interrupt(tmp_path / "strategy-fedmd_seed-1")
    for file in ("summary.json", "config.yaml"):
        (tmp_path / "strategy-local_seed-0" / file).unlink()
    done = study(tmp_path, *words)
    assert done.exit_code == 0, done.output
    assert "2 finished, 1 to go on with, 1 to run" in done.stderr
    assert "round 1/2" not in done.stderr.partition("strategy-fedmd_seed-1")[2]  # it was done
    assert digests(tmp_path) == whole
    kept = {name for name, when in written(tmp_path).items() if when == before[name]}
    assert kept == {"strategy-local_seed-1", "strategy-fedmd_seed-0"}
    again = fedkd("run", f"resume={tmp_path}")
    assert (again.exit_code, "4 finished" in again.stderr) == (0, True)
    assert again.stdout == done.stdout


def test_a_study_may_grow(tmp_path: Path) -> None:
    """A run is known by its configuration: with a second strategy its folder has another name."""
    assert study(tmp_path, "strategy=fedmd", "seed=0,1").exit_code == 0
    before = written(tmp_path)
    done = study(tmp_path, "strategy=fedmd,local", "seed=0,1")
    assert done.exit_code == 0, done.output
    assert "2 finished, 2 to run" in done.stderr
    assert before.items() <= written(tmp_path).items()
    assert set(written(tmp_path)) - set(before) == {f"strategy-local_seed-{s}" for s in (0, 1)}


def test_what_a_study_says_for_people_stays_where_nothing_else_is_said(tmp_path: Path) -> None:
    Definition({"hypothesis": "more is better", "seeds": [0]}).write(tmp_path)
    Definition({"overrides": ["seed=0,1"]}).write(tmp_path)
    file = tmp_path / "study.yaml"
    assert Definition.read(file).words == {"hypothesis": "more is better"}
    assert Definition.read(file).overrides == ["seed=0,1"]
    Definition({"hypothesis": "less is better"}).write(tmp_path)
    assert Definition.read(file).content == {"hypothesis": "less is better"}


def test_what_a_changed_definition_would_leave_over_is_refused(tmp_path: Path) -> None:
    assert study(tmp_path, "seed=0,1").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for words, told in {
        (
            "seed=0",
        ): "1 run (seed-1) of its study would be left over: it had seed=0,1, it has seed=0",
        ("seed=0,1", "fit.lr=0.1"): "2 runs (seed-0, seed-1) of its study would be left over",
        ("seed=0,1", "rounds=3"): "2 runs (seed-0, seed-1) of its study would be left over",
    }.items():
        done = study(tmp_path, *words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
        assert told in done.stderr
        assert done.stderr.rstrip().endswith("remove their folders, or choose another run_dir")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_run_that_went_on_alone_is_not_taken_for_finished(tmp_path: Path) -> None:
    assert study(tmp_path, "seed=0,1").exit_code == 0
    assert fedkd("run", f"resume={tmp_path}/seed-1", "rounds=3").exit_code == 0
    done = fedkd("run", f"resume={tmp_path}")
    assert done.exit_code == 2
    assert "1 run (seed-1) went on for more rounds than its study has" in done.stderr


@pytest.mark.parametrize("name", ["../other", "..", ""])
def test_a_record_names_no_folder_elsewhere(name: str, tmp_path: Path) -> None:
    run = {name: {"key": "x"}}
    (tmp_path / "runs.json").write_text(json.dumps({"at_once": 1, "runs": run}))
    with pytest.raises(ConfigError, match="has a run that is not in its folder: "):
        StudyFolder(tmp_path)


def test_a_study_that_goes_on_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("seeds: [0, 1]\n")
    assert named([f"resume={tmp_path}", f"run_dir={tmp_path}"], False)
    with pytest.raises(ConfigError, match=r"run_dir=.*other: .* is to go on, where it is"):
        named([f"resume={tmp_path}", f"run_dir={tmp_path}/other"], False)


def test_a_study_is_not_put_into_the_current_folder_by_an_empty_path() -> None:
    with pytest.raises(ConfigError, match="run_dir=: is empty"):
        named(["seed=0,1", "run_dir="], True)


def test_runs_of_no_study_are_not_taken_for_its_own(tmp_path: Path) -> None:
    assert fedkd("run", *SMALL, "seed=0", f"run_dir={tmp_path}/seed-0").exit_code == 0
    done = study(tmp_path, "seed=0,1")
    assert done.exit_code == 2
    assert "already holds 1 run (seed-0) of no study" in done.stderr


# -- failures ------------------------------------------------------------------------------------


def test_a_failure_is_named_with_its_log_and_run_again_when_asked(tmp_path: Path) -> None:
    plug_in, where, broken = tmp_path / "mine.py", tmp_path / "study", tmp_path / "broken"
    plug_in.write_text(PLUG_IN)
    broken.touch()
    words = [f"strategy={plug_in}:Mine,local", "seed=0"]
    done = study(where, *words)
    name = "strategy-Mine"
    assert done.exit_code == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors[0].startswith(f"error: {name}: ")
    assert "ZeroDivisionError: oops" in errors[0]
    assert str(where / name / "log.txt") in errors[0]
    assert errors[1] == f"error: 1 of 2 runs failed; fedkd run resume={where} --retry-failed"
    assert list(digests(where)) == ["strategy-local"]

    broken.unlink()
    log = (where / name / "log.txt").read_text()
    kept = study(where, *words)
    assert kept.exit_code == 1
    assert "1 finished, 1 failed (--retry-failed runs them again)" in kept.stderr
    assert errors[0] in kept.stderr
    assert (where / name / "log.txt").read_text() == log
    shown = fedkd("status", where).stdout
    assert "1 finished, 1 failed" in shown
    assert "ZeroDivisionError: oops" in shown

    retried = study(where, *words, "--retry-failed")
    assert retried.exit_code == 0, retried.output
    assert len(digests(where)) == 2


def test_code_that_was_edited_is_another_study_unless_it_failed(tmp_path: Path) -> None:
    plug_in, where, broken = tmp_path / "mine.py", tmp_path / "study", tmp_path / "broken"
    plug_in.write_text(PLUG_IN)
    words = [f"strategy={plug_in}:Mine", "seed=0,1"]
    broken.touch()
    assert study(where, *words).exit_code == 1
    plug_in.write_text(PLUG_IN.replace("broken", "nothing"))
    assert study(where, *words, "--retry-failed").exit_code == 0
    assert "round" not in (where / "seed-0" / "log.txt").read_text()  # of the second run alone
    plug_in.write_text(PLUG_IN)
    done = study(where, *words)
    assert done.exit_code == 2
    assert f"{plug_in}:Mine was changed since 2 runs (seed-0, seed-1) began" in done.stderr


def test_code_that_is_edited_under_way_ends_the_study(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(EDITING)
    done = study(tmp_path / "study", f"strategy={tmp_path}/mine.py:Mine", "seed=0,1")
    assert done.exit_code == 2
    assert "mine.py:Mine was changed while the study was under way" in done.stderr
    assert list(digests(tmp_path / "study")) == ["seed-0"]


def test_flags_of_a_study_are_no_single_runs() -> None:
    for flag in ("--retry-failed", "--freeze"):
        done = fedkd("run", *SMALL, flag)
        assert (done.exit_code, f"{flag}=true: is for a study" in done.stderr) == (2, True)


# -- a study file --------------------------------------------------------------------------------

FILE = """
hypothesis: "Whom one learns from matters: more, the more skewed labels are."
tags: [pilot]
settings: {clients: 3, rounds: 1, data.samples_per_client: 20, transfer.size: 40, engine: inline}
grid:
  strategy: [local, {name: knfu, beta: 5}]
  data.alpha: [0.1, null]
seeds: 0
"""


def test_a_study_file(tmp_path: Path) -> None:
    file = tmp_path / "pilot.yaml"
    file.write_text(FILE)
    where = tmp_path / "there"
    done = fedkd("run", file, f"run_dir={where}", "rounds=2")
    assert done.exit_code == 0, done.output
    assert len(digests(where)) == 4
    config = yaml.safe_load(
        (where / "strategy-name-knfu-beta-5_data.alpha-null/config.yaml").read_text()
    )
    assert (config["strategy"], config["data"]["alpha"], config["rounds"]) == (
        {"name": "knfu", "beta": 5},
        None,
        2,
    )
    shown = fedkd("status", where).stdout
    assert "more, the more skewed labels are." in shown
    assert "pilot" in shown
    assert "4 finished" in fedkd("run", f"resume={where}").stderr


def test_a_study_file_without_a_folder_is_named_after_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pilot.yml").write_text(FILE)
    assert fedkd("run", "pilot.yml", "strategy=local", "data.alpha=1").exit_code == 0
    assert list(digests(tmp_path / "runs" / "pilot")) == ["run"]
    assert "rough time" not in fedkd("run", "pilot.yml", "--dry-run").output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grids: {seed: [0]}", "grids={'seed': [0]}: unknown key of a study"),
        ("- seed", "is no study: a mapping"),
        ("tags: pilot", "tags=pilot: must be a list"),
        ("grid: {seed: [0, x]}", "seed=x: must be an integer"),
        ("grid: {sed: [0]}", "sed=0: unknown key"),
        ("{", "cannot be read as a study"),
        ("settings: {run_dir: null}\nseeds: x", "seed=x: must be an integer"),
    ],
)
def test_what_is_no_study_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "pilot.yaml"
    file.write_text(text)
    done = fedkd("run", file, f"run_dir={tmp_path}/there")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
    assert not (tmp_path / "there").exists()


def test_values_are_written_in_hydras_grammar() -> None:
    grid = {"model": [["mlp", "lenet5"], "./my nets.py:Net"], "fit.lr": "0.1, 0.2"}
    overrides = Definition({"presets": ["demo"], "grid": grid, "seeds": [0, 1]}).overrides
    assert overrides == [
        "experiment=demo",
        "model=[mlp,lenet5],'./my nets.py:Net'",
        "fit.lr=0.1,0.2",
        "seed=0,1",
    ]


def test_two_studies_at_once_are_refused(tmp_path: Path) -> None:
    assert "give one study at a time" in fedkd("run", "a.yaml", "b.yaml").stderr


def test_somebody_elses_study_is_not_imported_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDKD_CONFIG_DIR", str(tmp_path / "mine"))
    (tmp_path / "mine.py").write_text(PLUG_IN)
    where = tmp_path / "study"
    assert study(where, f"strategy={tmp_path}/mine.py:Mine", "seed=0,1").exit_code == 0
    assert fedkd("run", f"resume={where}").exit_code == 0
    monkeypatch.setenv("FEDKD_CONFIG_DIR", str(tmp_path / "theirs"))
    done = fedkd("run", f"resume={where}")
    assert (done.exit_code, "names code that is not fedkd's" in done.stderr) == (2, True)
    assert fedkd("run", f"resume={where}", "trust=true").exit_code == 0


def test_a_run_that_goes_on_imports_what_its_study_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was given to somebody may have another configuration in a run of it."""
    monkeypatch.setenv("FEDKD_CONFIG_DIR", str(tmp_path / "mine"))
    assert study(tmp_path, "seed=0,1").exit_code == 0
    file = tmp_path / "seed-0" / "config.yaml"
    file.write_text(file.read_text().replace("name: knfu", "name: ./theirs.py:Theirs"))
    with pytest.raises(ConfigError, match="names code that is not fedkd's"):
        going_on(compose(SMALL), tmp_path / "seed-0")


# -- frozen --------------------------------------------------------------------------------------


def test_a_frozen_study_knows_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(PLUG_IN)
    where = tmp_path / "study"
    words = [f"strategy={tmp_path}/mine.py:Mine,local", "seed=0"]
    done = study(where, *words, "--freeze")
    assert done.exit_code == 0, done.output
    assert "all these runs belong to it" in done.stdout
    frozen = Frozen.read(where)
    assert frozen is not None
    runs = [where / "strategy-Mine", where / "strategy-local"]
    assert [frozen.belongs(run) for run in runs] == ["", ""]

    other = [*SMALL, "strategy=local", f"run_dir={tmp_path}/other"]
    assert fedkd("run", *other, "seed=1").exit_code == 0
    assert frozen.belongs(tmp_path / "other") == "its configuration is none of the frozen ones"
    (tmp_path / "other").rename(tmp_path / "seed-1")
    assert fedkd("run", *other, "seed=0").exit_code == 0
    assert frozen.belongs(tmp_path / "other") == ""
    (tmp_path / "seed-1" / "split.npz").replace(tmp_path / "other" / "split.npz")
    assert frozen.belongs(tmp_path / "other") == "who holds which samples is not as it was frozen"
    (tmp_path / "other" / "summary.json").unlink()

    assert "its definition differs" in study(where, words[0], "seed=0,1").stderr
    (tmp_path / "mine.py").write_text(PLUG_IN + "#")
    changed = study(where, *words)
    assert (changed.exit_code, "mine.py:Mine was changed" in changed.stderr) == (2, True)
    (tmp_path / "mine.py").write_text(PLUG_IN)
    monkeypatch.setattr(freezing, "versions", lambda: {"python": "2.7"})
    assert "python is 2.7, was 3" in study(where, *words).stderr


def test_a_study_is_frozen_before_its_first_run(tmp_path: Path) -> None:
    assert study(tmp_path / "a", "seed=0,1").exit_code == 0
    done = study(tmp_path / "a", "seed=0,1", "--freeze")
    assert (done.exit_code, "its first run has begun (seed-0)" in done.stderr) == (2, True)
    assert Frozen.read(tmp_path / "a") is None
    assert study(tmp_path / "b", "seed=0", "strategy=nowhere", "--freeze").exit_code == 2
    assert not (tmp_path / "b").exists()


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    assert study(tmp_path, "seed=0", "--freeze").exit_code == 0
    file = tmp_path / "manifest.json"
    file.write_text(file.read_text().replace("digits", "digitz"))
    with pytest.raises(ConfigError, match="was changed since the study was frozen"):
        Frozen.read(tmp_path)


# -- status --------------------------------------------------------------------------------------


def test_the_status_of_a_study_under_way(tmp_path: Path) -> None:
    assert study(tmp_path, "seed=0,1,2").exit_code == 0
    interrupt(tmp_path / "seed-1")
    (tmp_path / "seed-2" / "summary.json").unlink()
    (tmp_path / "seed-2" / "config.yaml").unlink()
    folder = StudyFolder(tmp_path)
    assert [folder.state(name) for name in folder.entries] == ["finished", "begun", "waiting"]
    stopped = fedkd("status", tmp_path).stdout
    assert "stopped; fedkd run resume=" in stopped
    assert "interrupted  seed-1  round 2 of 2" in stopped
    with locked(tmp_path, "run_dir"), locked(tmp_path / "seed-1", "run_dir"):
        shown = fedkd("status", tmp_path).stdout
    assert f"under way, by process {os.getpid()}" in shown
    assert "3: 1 finished, 1 begun, 1 waiting" in shown
    assert "running  seed-1  round 2 of 2" in shown
    assert "left   about " in shown
    assert fedkd("status", tmp_path / "seed-0").exit_code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["strategy=local,knfuu"], "strategy=knfuu: no such strategy"),
        (["strategy=local,fedmd", "strategy.beta=1"], "strategy.beta=1"),
        (["strategy=local", "model=mlp,nowhere"], "model=nowhere"),
        (["strategy=local,./nowhere.py:Mine"], "nowhere.py"),
        (["strategy=local", "privacy=none,nothing"], "privacy=nothing"),
        (["strategy=knfu", "strategy.beta=1,-5"], "beta=-5"),
        (["strategy=local", "data=digits,nosuch"], "data=nosuch"),
        (["strategy=local", "transfer.data=digits,/no/file.csv"], "transfer.data=/no/file.csv"),
    ],
)
def test_what_no_run_could_use_is_refused_before_the_first(
    words: list[str], told: str, tmp_path: Path
) -> None:
    """It was a run that failed, in the morning."""
    done = study(tmp_path / "study", *words)
    assert done.exit_code == 2
    assert told in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "study").exists()


# -- killed --------------------------------------------------------------------------------------

MANY = ["strategy=local,fedmd,knfu", "data.alpha=0.1,1,null", "seed=0,1,2"]
FEW = ["strategy=local,knfu", "data.alpha=0.1,1", "seed=0,1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "kills", "parallel"), [(MANY, 3, 1), (FEW, 1, 2)], ids=["alone", "side by side"]
)
def test_a_study_that_is_killed_gives_the_tables_of_one_that_is_not(
    runs: list[str], kills: int, parallel: int, tmp_path: Path
) -> None:
    """At random; the last call does what is left."""
    if parallel > cores():
        pytest.skip("needs two cores")
    draw = random.Random(parallel)
    whole = fedkd("run", "-m", *SMALL, *runs, f"run_dir={tmp_path}/whole")
    assert whole.exit_code == 0, whole.output
    folder = tmp_path / "killed"
    given = ["run", "-m", *SMALL, *runs, f"study.parallel={parallel}", f"run_dir={folder}"]
    for _ in range(kills):
        wanted = len(digests(folder)) + draw.randint(1, 6)
        process = subprocess.Popen([*COMMAND, *given], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(digests(folder)) >= wanted, process)  # noqa: B023
        time.sleep(draw.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    done = fedkd(*given)
    assert done.exit_code == 0, done.output
    assert digests(folder) == digests(tmp_path / "whole")
    assert len(digests(folder)) == len(StudyFolder(folder).entries)
    for name in digests(folder):
        for table in ("rounds.parquet", "clients.parquet"):
            found = [pq.read_table(one / name / table) for one in (folder, tmp_path / "whole")]
            same = [column for column in found[0].column_names if "seconds" not in column]
            assert found[0].select(same).equals(found[1].select(same)), (name, table)
    tables = [_scores(one.stdout) for one in (done, whole)]
    assert tables[0] == tables[1]


def _scores(shown: str) -> list[list[str]]:
    """Return the rows of a printed table but for their seconds."""
    return [line.split()[:-1] for line in shown.partition("ALMA:")[0].splitlines() if line.strip()]
