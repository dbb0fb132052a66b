"""Ctrl-C and a polite kill: a run that is told to end does, soon, in words, and can be read."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""What a shell starts in the background ignores SIGINT, and its children inherit that."""

COMMAND = [sys.executable, "-c", f"{HEED}; from fedkd.cli import main; main()"]
LIMIT = 120
"""Seconds after which what we wait for is not going to happen; every run here would take days."""


def start(run_dir: Path, engine: str, *more: str) -> "subprocess.Popen[str]":
    options = ["clients=20", "rounds=100000", f"engine={engine}", "engine.actors=2", *more]
    return subprocess.Popen(
        [*COMMAND, "run", *options, f"run_dir={run_dir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: "subprocess.Popen[str]", there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
@pytest.mark.parametrize("engine", ["inline", "ray", "flower"])
def test_a_signal_leaves_a_readable_run(
    engine: str, number: signal.Signals, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    process = start(run_dir, engine)
    try:
        wait_for(process, (run_dir / "rounds.parquet").exists)
        check_ended(process, end(process, number))
    finally:
        process.kill()
    rounds = pq.read_table(run_dir / "rounds.parquet")["round"].to_pylist()
    assert rounds == list(range(1, len(rounds) + 1))
    clients = pq.read_table(run_dir / "clients.parquet")
    assert set(clients["round"].to_pylist()) == set(rounds)
    assert not (run_dir / "summary.json").exists()
    assert "the run failed" in (run_dir / "log.txt").read_text()
    shown = subprocess.run([*COMMAND, "report", str(run_dir)], timeout=120, check=False)
    assert shown.returncode == 0


def busy_actors(process: "subprocess.Popen[str]") -> int:
    names = (["ray::Actor.handle"], ["ray::ClientAppActor.run"])
    below = psutil.Process(process.pid).children(recursive=True)
    found = 0
    for one in below:
        with suppress(psutil.Error):  # it has just ended
            found += one.cmdline()[:1] in names
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "flower"])
def test_a_signal_does_not_wait_for_busy_clients(engine: str, tmp_path: Path) -> None:
    process = start(tmp_path / "run", engine, "fit.epochs=100000")
    try:
        wait_for(process, lambda: busy_actors(process) == 2)
        check_ended(process, end(process, signal.SIGTERM))
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


@pytest.mark.parametrize("options", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
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
@pytest.mark.parametrize("pause", [0.0, 0.7, 1.5])
def test_a_polite_kill_while_ray_starts(pause: float, tmp_path: Path) -> None:
    """Once Ray has started, which takes a few seconds, and longer beside other tests."""
    process = start(tmp_path / "run", "ray")
    try:
        wait_for(process, (tmp_path / "run" / "config.yaml").exists)
        time.sleep(pause)
        check_ended(process, end(process, signal.SIGTERM, starting=True))
    finally:
        process.kill()
