"""Runs of a sweep side by side: what one after the other gives, and every failure one run's."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from support import LIMIT, fedkd, wait_until
from test_cli_signals import COMMAND, check_ended, check_readable, end

from fedkd import simulate
from fedkd.config import RunConfig
from fedkd.config.overrides import compose
from fedkd.engine.cluster import cores
from fedkd.errors import ConfigError
from fedkd.run import parallel
from fedkd.run.study import dealing
from fedkd.run.worker import Limits

SMALL = ["clients=3", "rounds=2", "data.samples_per_client=20", "transfer.size=40"]
PLUG_INS = Path(__file__).parent / "plugins"


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two cores, whatever the machine has, and processes that cost nothing."""
    monkeypatch.setattr(dealing, "cores", lambda: 2)
    monkeypatch.setattr(dealing, "START_SECONDS", 0.0)


def summaries(folder: Path) -> dict[str, Any]:
    found = sorted(folder.glob("*/summary.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in found}


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["study.parallel=many"], "study.parallel=many: must be off, auto or a number"),
        (["study.parallel=0"], "study.parallel=0: must be off, auto or a number of at least 1"),
        (["study.parallel=auto,off"], "study.parallel=auto,off: a sweep has one value of it"),
        (["~study.parallel"], "study.parallel=~: a sweep has one value of it"),
        (["study.paralel=2"], "study.paralel=2: unknown key; did you mean 'study.parallel'?"),
        (["study=auto"], "study=auto: is a group of settings; give one of them"),
        (["study.parallel=3"], "study.parallel=3: is more than the CPU cores that this process"),
        (["study.parallel=2", "engine=ray,inline"], "study.parallel=2: engine=ray is given: such"),
        (["study.parallel=2", "engine.actors=1"], "study.parallel=2: engine.actors=1 is given: "),
    ],
)
def test_what_no_sweep_could_have_is_refused(
    given: list[str], message: str, two_cores: None, tmp_path: Path
) -> None:
    done = fedkd("run", "-m", *SMALL, "seed=0,1", f"run_dir={tmp_path}/sweep", *given)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("key", ["study.parallel", "study"])
def test_a_single_run_has_no_such_key(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}=.*: is for a sweep; use fedkd run -m"):
        simulate(**{key: "auto"})
    with pytest.raises(ConfigError, match=r"^study\.parallel=auto: is for a sweep"):
        compose(["study.parallel=auto"])
    assert "study" not in RunConfig().to_dict()


# -- who is run alone ----------------------------------------------------------------------------


def dealt(*overrides: str) -> list[tuple[str, str]]:
    runs = dealing.read([*SMALL, *overrides]).runs
    return [(run.alone, run.inline.engine.name) for run in runs]


def test_runs_keep_the_engine_that_is_named(two_cores: None) -> None:
    auto = ["study.parallel=auto", "seed=0,1"]
    assert {alone for alone, _ in dealt(*auto)} == {""}
    assert {alone for alone, _ in dealt(*auto, "engine=inline", "engine.stack=2")} == {""}
    assert {alone for alone, _ in dealt(*auto, "experiment=fusion_mnist")} == {""}
    for one in ("engine=ray", "engine=flower", "engine.actors=2", "engine.address=auto"):
        assert [alone for alone, _ in dealt(*auto, one)] == [f"{one} is given"] * 2
    mixed = dealing.read([*SMALL, "study.parallel=auto", "engine=inline,ray", "seed=0,1"])
    assert mixed.beside() == [0, 1]


def test_one_run_or_one_core_is_nothing_to_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "cores", lambda: 1)
    assert dealing.read(["study.parallel=auto", "seed=0,1"]).beside() == []
    monkeypatch.setattr(dealing, "cores", lambda: 8)
    assert dealing.read(["study.parallel=auto", "seed=0"]).beside() == []
    assert dealing.read(["study.parallel=off", "seed=0,1"]).beside() == []
    one = dealing.read(["study.parallel=auto", "engine=inline,ray"])
    assert one.beside() == []
    assert dealing.read(["study.parallel=auto", "seed=0,1,2"]).at_once == 3
    assert dealing.read(["study.parallel=2", "seed=0,1,2"]).at_once == 2


def test_a_gpu_is_not_shared(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing.torch.cuda, "is_available", lambda: True)
    assert dealing.read(["study.parallel=auto", "seed=0,1"]).beside() == []
    assert dealing.read(["study.parallel=auto", "seed=0,1", "device=cpu"]).beside() == [0, 1]
    with pytest.raises(ConfigError, match=r"^study\.parallel=2: device=auto is a GPU"):
        dealing.read(["study.parallel=2", "seed=0,1"])


def test_a_dry_run_says_who_would_be_run_how(
    two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["run", "-m", *SMALL, "engine=inline,ray", "seed=0,1", "study.parallel=auto"]
    shown = fedkd(*given, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("Would be run beside others, 2 at a time.") == 2
    assert shown.output.count("Would be run alone: engine=ray is given.") == 2
    monkeypatch.setattr(dealing, "SMALL_SECONDS", 0.0)
    assert "Would be run alone: takes about" in fedkd(*given, "--dry-run").output
    monkeypatch.undo()
    monkeypatch.setattr(dealing, "cores", lambda: 2)
    monkeypatch.setattr(dealing, "START_SECONDS", 0.0)
    monkeypatch.setattr(dealing, "memory_each", lambda at_once: 1.0)
    assert "Would be run alone: needs about" in fedkd(*given, "--dry-run").output


def test_memory_is_shared_out() -> None:
    assert parallel.memory_each(1) > parallel.memory_each(2) > parallel.memory_each(3)
    assert Limits(1.0, parallel.memory_each(10**9)).memory < 0


@pytest.mark.parametrize(("seconds", "dealt"), [(2.0, []), (5.0, [0, 1, 2, 3])])
def test_processes_are_started_where_they_save_more_than_that_takes(
    seconds: float, dealt: list[int], two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunConfig] = []
    monkeypatch.setattr(dealing, "START_SECONDS", 7.0)
    monkeypatch.setattr(dealing, "expected_seconds", lambda one: asked.append(one) or seconds)
    runs = [*SMALL, "seed=range(0,4)"]
    assert dealing.read([*runs, "engine=inline", "study.parallel=auto"]).beside() == dealt
    assert {type(one) for one in asked} == {RunConfig}
    assert len(asked) <= dealing.ESTIMATED
    asked.clear()
    for also in ("study.parallel=2", "engine=inline study.parallel=2", "study.parallel=auto"):
        assert dealing.read([*runs, *also.split()]).beside() == [0, 1, 2, 3]
    named = ["client=./nowhere.py:Mine", "engine=inline", "study.parallel=auto"]
    assert dealing.read([*runs, *named]).beside() == [0, 1, 2, 3]
    assert not asked


def test_what_cannot_start_takes_no_time() -> None:
    assert dealing.expected_seconds(RunConfig()) > 0
    assert dealing.expected_seconds(compose(["strategy=nowhere"])) == 0


# -- what comes out ------------------------------------------------------------------------------

FAILING = """
import os, signal
from fedkd.strategies.fedmd import FedMD

class Failing(FedMD):
    def __init__(self, how: str = "raises"):
        super().__init__()
        self.how = how

    def fuse(self, knowledge):
        if self.how == "raises":
            raise ZeroDivisionError("oops")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "left":
            os._exit(3)
        return super().fuse(knowledge)
"""


@pytest.mark.slow
def test_a_sweep_side_by_side_is_the_sweep_one_after_the_other(
    two_cores: None, tmp_path: Path
) -> None:
    """Also where runs fail in all ways there are: each is one line, and the others go on."""
    (tmp_path / "failing.py").write_text(FAILING)
    failing = f"{tmp_path}/failing.py:Failing"
    chosen = ["knfu", f"{{name:'{failing}',how:raises}}", "fedavg", "local", "fedgems"]
    settings = ["run", "-m", *SMALL, f"strategy={','.join(chosen)}", "seed=0,1", "fit.lr=0.1"]
    shown = {
        how: fedkd(*settings, *more, f"run_dir={tmp_path}/{how}")
        for how, more in {"off": ["engine=inline"], "auto": ["study.parallel=auto"]}.items()
    }
    off, auto = (summaries(tmp_path / how) for how in shown)
    assert {name: one["digest"] for name, one in auto.items()} == {
        name: one["digest"] for name, one in off.items()
    }
    assert len(auto) == 6
    assert {one["engine"] for one in auto.values()} == {"inline"}
    for done in shown.values():
        assert done.exit_code == 2, done.output
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert sorted(errors)[0].startswith("error: 4 of 10 runs failed; fedkd run resume=")
        assert sum("ZeroDivisionError: oops" in line for line in errors) == 2
        assert sum("transfer.labelled=false" in line for line in errors) == 2
    assert "6 of 10" in shown["auto"].stderr
    for name in off:
        configs = [
            yaml.safe_load((tmp_path / how / name / "config.yaml").read_text()) for how in shown
        ]
        assert configs[0] | {"run_dir": ""} == configs[1] | {"run_dir": ""}
    table = [shown[how].stdout.partition("ALMA:")[0] for how in shown]
    names = [[line.split()[0] for line in one.splitlines() if line.strip()] for one in table]
    assert names[0] == names[1]


@pytest.mark.slow
def test_a_process_that_dies_is_one_run_that_failed(two_cores: None, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    before = set(psutil.Process().children())
    failing = f"{tmp_path}/failing.py:Failing"
    chosen = ",".join(f"{{name:'{failing}',how:{how}}}" for how in ("killed", "left", "nothing"))
    where = f"run_dir={tmp_path}/sweep"
    done = fedkd("run", "-m", *SMALL, f"strategy={chosen}", "study.parallel=2", where)
    assert done.exit_code == 1, done.output
    assert "its process was killed, as it is where memory runs out" in done.stderr
    assert "its process ended with exit code 3 in the middle of the run" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 2 of 3 runs failed; ")
    assert len(summaries(tmp_path / "sweep")) == 1
    started = set(psutil.Process().children()) - before
    assert not [one for one in started if "resource_tracker" not in " ".join(one.cmdline())]


@pytest.mark.slow
def test_nothing_of_a_run_reaches_the_next(two_cores: None, tmp_path: Path) -> None:
    leaving = [
        f"{{name:'{PLUG_INS}/traces.py:Leaving',what:{what},folder:'{tmp_path}'}}"
        for what in ("precision", "patch")
    ]
    clients, where = ",".join([*leaving, "standard"]), f"run_dir={tmp_path}/sweep"
    given = [*SMALL, "strategy=fedmd", f"client={clients}", "study.parallel=auto", where]
    done = fedkd("run", "-m", *given)
    assert done.exit_code == 0, done.output
    one = fedkd("run", *SMALL, "strategy=fedmd", "engine=inline", f"run_dir={tmp_path}/one/run")
    assert one.exit_code == 0, one.output
    last = summaries(tmp_path / "sweep")["client-standard"]
    assert last["digest"] == summaries(tmp_path / "one")["run"]["digest"]


@pytest.mark.slow
def test_a_sweep_side_by_side_can_be_resumed(two_cores: None, tmp_path: Path) -> None:
    for rounds in (2, 3):
        given = [f"rounds={rounds}", "checkpoint.every=1", f"run_dir={tmp_path}/{rounds}"]
        assert not fedkd("run", "-m", *SMALL, "seed=0,1", "engine=inline", *given).exit_code
    folders = ",".join(str(tmp_path / "2" / f"seed-{seed}") for seed in (0, 1))
    more = ["rounds=3", "study.parallel=auto"]
    done = fedkd("run", "-m", f"resume={folders}", *more, f"run_dir={tmp_path}/2")
    assert done.exit_code == 0, done.output
    digests = [[s["digest"] for s in summaries(tmp_path / rounds).values()] for rounds in "23"]
    assert digests[0] == digests[1]


# -- what ends it --------------------------------------------------------------------------------


def start(folder: Path) -> "subprocess.Popen[str]":
    settings = ["clients=5", "rounds=100000", "seed=0,1,2", f"study.parallel={min(2, cores())}"]
    return subprocess.Popen(
        [*COMMAND, "run", "-m", *settings, "engine=inline", f"run_dir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def under_way(folder: Path) -> bool:
    return all((folder / f"seed-{seed}" / "rounds.parquet").exists() for seed in (0, 1))


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="needs two cores")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "at once"])
def test_a_signal_ends_all_runs_readably(how: str, tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        if how == "at once":  # while the processes import
            wait_until(lambda: len(psutil.Process(process.pid).children()) > 1, process)
            check_ended(process, end(process, signal.SIGTERM))
            return
        wait_until(lambda: under_way(tmp_path), process)
        if how == "SIGINT":  # a terminal sends it to all
            os.killpg(process.pid, signal.SIGINT)
            check_ended(process, process.communicate(timeout=LIMIT)[1])
        else:
            check_ended(process, end(process, signal.SIGTERM))
    finally:
        process.kill()
    for seed in (0, 1):
        check_readable(tmp_path / f"seed-{seed}")
    assert not (tmp_path / "seed-2").exists()


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="needs two cores")
def test_runs_end_with_the_command_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        wait_until(lambda: under_way(tmp_path), process)
        end(process, signal.SIGKILL)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    for seed in (0, 1):
        check_readable(tmp_path / f"seed-{seed}")
