"""Ctrl-C and a polite kill: a run that is told to end does, soon, in words, and can be read."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from support import LIMIT, fedkd, wait_until

from fedkd.ending import ENDING, heed, interrupt

HEED = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""What a shell starts in the background ignores SIGINT, under nohup SIGHUP; it is inherited."""

PYTHON = [sys.executable, "-c", HEED]
COMMAND = [*PYTHON, "-m", "fedkd"]


def start(run_dir: Path, engine: str, *more: str) -> "subprocess.Popen[str]":
    options = ["clients=20", "rounds=100000", f"engine={engine}", "engine.actors=2", *more]
    return subprocess.Popen(
        [*COMMAND, "run", *options, f"run_dir={run_dir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]", number: int, starting: bool = False) -> str:
    """Send a signal, wait until the run has ended, and return standard error."""
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=LIMIT)
    _, alive = psutil.wait_procs(children, timeout=LIMIT)
    # Ray's agents, killed before they have come up, may outlive a raylet that dies meanwhile.
    left = [one for one in alive if not (starting and "Agent" in one.name())]
    assert not left
    return stderr


def check_ended(process: "subprocess.Popen[str]", stderr: str) -> None:
    assert process.returncode == 1, stderr
    assert stderr.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr


def check_readable(run_dir: Path) -> None:
    rounds = pq.read_table(run_dir / "rounds.parquet")["round"].to_pylist()
    assert rounds == list(range(1, len(rounds) + 1))
    clients = pq.read_table(run_dir / "clients.parquet")
    assert set(clients["round"].to_pylist()) == set(rounds)
    assert not (run_dir / "summary.json").exists()
    assert "the run failed" in (run_dir / "log.txt").read_text()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_the_command_line_is_imported(number: signal.Signals) -> None:
    timed = [*PYTHON, "-X", "importtime", "-m", "fedkd", "list", "strategies"]
    with subprocess.Popen(timed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        for line in process.stderr:
            if b"click" in line:  # fedkd.cli.app imports it, through typer
                break
        process.send_signal(number)
        stderr = process.communicate(timeout=LIMIT)[1].decode()
    words = [line for line in stderr.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, words) == (1, ["interrupted"])


ON_TERMINAL = """
import os, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(terminal, number)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def test_a_terminal_that_is_closed_leaves_a_run_with_all_its_rounds(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    settings = ["clients=2", "rounds=100000", "engine=inline", f"run_dir={tmp_path}/run"]
    command = [*PYTHON, "-c", ON_TERMINAL, os.ttyname(theirs), "-m", "fedkd", "run", *settings]
    process = subprocess.Popen(command)
    os.close(theirs)
    shown = bytearray()

    def third_round() -> bool:
        with suppress(BlockingIOError, OSError):  # EIO before they have opened it
            shown.extend(os.read(ours, 2**16))
        return re.search(rb"round ([3-9]|\d\d+)/", shown) is not None

    try:
        wait_until(third_round, process)
        os.close(ours)
        assert process.wait(timeout=LIMIT) == 1
    finally:
        process.kill()
    check_readable(tmp_path / "run")
    assert pq.read_table(tmp_path / "run" / "rounds.parquet").num_rows >= 2
    assert "KeyboardInterrupt" in (tmp_path / "run" / "log.txt").read_text()


def test_under_nohup_a_closed_terminal_changes_nothing() -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        heed(interrupt)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "number"),
    [("inline", "SIGTERM"), ("inline", "SIGHUP"), ("ray", "SIGINT"), ("flower", "SIGTERM")],
)
def test_a_signal_leaves_a_readable_run(engine: str, number: str, tmp_path: Path) -> None:
    """What the engines' actors do about the other signal, the next test shows."""
    run_dir = tmp_path / "run"
    process = start(run_dir, engine)
    try:
        wait_until((run_dir / "rounds.parquet").exists, process)
        check_ended(process, end(process, getattr(signal, number)))
    finally:
        process.kill()
    check_readable(run_dir)
    assert fedkd("report", run_dir).exit_code == 0


def busy_actors(process: "subprocess.Popen[str]") -> int:
    names = (["ray::Actor.handle"], ["ray::ClientAppActor.run"])
    below = psutil.Process(process.pid).children(recursive=True)
    found = 0
    for one in below:
        with suppress(psutil.Error):  # it has just ended
            found += one.cmdline()[:1] in names
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "number"), [("ray", "SIGTERM"), ("flower", "SIGINT")])
def test_a_signal_does_not_wait_for_busy_clients(engine: str, number: str, tmp_path: Path) -> None:
    process = start(tmp_path / "run", engine, "fit.epochs=100000")
    try:
        wait_until(lambda: busy_actors(process) == 2, process)
        check_ended(process, end(process, getattr(signal, number)))
    finally:
        process.kill()


LOSING = """
import os, signal
from fedkd.strategies.dsfl import DSFL

class Finaliser:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))  # the handler has been called by then

class Losing(DSFL):
    def fuse(self, knowledge):
        Finaliser()
        return super().fuse(knowledge)
"""


@pytest.mark.parametrize(
    "options", [[], pytest.param(["-m", "seed=0,1"], marks=pytest.mark.slow)], ids=["run", "sweep"]
)
def test_a_signal_whose_exception_is_lost_ends_the_run(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "losing.py").write_text(LOSING)
    settings = [f"strategy={tmp_path}/losing.py:Losing", "clients=2", "engine=inline"]
    where = f"run_dir={tmp_path}/run"
    command = [*COMMAND, "run", *options, *settings, "rounds=50", where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Exception ignored" in done.stderr
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "interrupted")
    assert not list(tmp_path.glob("run/**/summary.json"))


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 1.5])
def test_a_polite_kill_while_ray_starts(pause: float, tmp_path: Path) -> None:
    """Once Ray has started, which takes a few seconds, and longer beside other tests."""
    process = start(tmp_path / "run", "ray")
    try:
        wait_until((tmp_path / "run" / "config.yaml").exists, process)
        time.sleep(pause)
        check_ended(process, end(process, signal.SIGTERM, starting=True))
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("pause", "number"), [(0.0, signal.SIGINT), (1.0, signal.SIGTERM)])
def test_a_signal_while_samples_are_dealt_and_ray_starts(
    pause: float, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDKD_CACHE_DIR", str(tmp_path))  # nothing has been dealt before
    process = start(tmp_path / "run", "ray")
    started = psutil.Process(process.pid)
    try:
        wait_until(lambda: any("gcs" in one.name() for one in started.children()), process)
        time.sleep(pause)
        check_ended(process, end(process, number, starting=True))
    finally:
        process.kill()
