"""One run a directory: the second is told who holds it, and a dead one holds nothing."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support import LIMIT, fedkd, wait_until

from fedkd import ConfigError, RunError, simulate
from fedkd.callbacks import Callback
from fedkd.rundir.locking import locked

SMALL = ["clients=4", "engine=inline", "strategy=fedmd"]
COMMAND = [sys.executable, "-c", "from fedkd.cli.app import main; main()"]


@pytest.fixture
def live(tmp_path):
    """Return a function that starts a run without end, in a process of its own."""
    started = []

    def start(*options):
        command = [*COMMAND, "run", *SMALL, "rounds=100000", *options, f"run_dir={tmp_path}/run"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        wait_until((tmp_path / "run" / "rounds.parquet").exists, process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=LIMIT)


@pytest.mark.slow
def test_nobody_else_writes_where_a_run_is_under_way(live, tmp_path):
    run_dir = tmp_path / "run"
    process = live("record.knowledge=true", "checkpoint.every=1")
    for arguments in (
        ("run", *SMALL, f"run_dir={run_dir}"),
        ("run", f"resume={run_dir}"),
        ("run", f"resume={run_dir}", "rounds=200000", "force=true"),
        ("attack", run_dir, "--attack", "label_distribution"),
    ):
        done = fedkd(*arguments)
        assert done.exit_code == 2, done.output
        (line,) = done.stderr.strip().splitlines()
        assert f"is in use by process {process.pid} on " in line
        assert " since 20" in line
    with pytest.raises(ConfigError, match="in use"):
        simulate("local", clients=2, engine="inline", run_dir=str(run_dir))
    assert fedkd("report", run_dir).exit_code == 0
    assert fedkd("compare", run_dir).exit_code == 0
    assert process.poll() is None
    process.kill()
    process.wait(timeout=LIMIT)
    with locked(run_dir, "run_dir"):
        pass


ORPHAN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from fedkd.rundir.locking import locked

with locked(Path(sys.argv[1]), "run_dir"):
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    forked = os.fork()
    if forked == 0:
        time.sleep(600)
    print(child.pid, forked, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_do_not_keep_a_dead_parents_lock(tmp_path):
    output = tmp_path / "pids"  # a pipe would stay open as long as the children
    with output.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-c", ORPHAN, str(tmp_path / "run")],
            stdout=stream,
            timeout=120,
            check=False,
        )
    assert done.returncode == -signal.SIGKILL
    children = [psutil.Process(int(pid)) for pid in output.read_text().split()]
    try:
        wait_until(lambda: _free(tmp_path / "run"))  # the forked child may not have run yet
        assert len(children) == 2
        assert all(child.is_running() for child in children)
    finally:
        for child in children:
            child.kill()


def _free(folder):
    with suppress(ConfigError), locked(folder, "run_dir"):
        return True
    return False


@pytest.mark.slow
def test_a_run_resumes_while_the_actors_of_its_killed_driver_live_on(live, tmp_path):
    process = live("engine=ray", "engine.actors=2", "checkpoint.every=1")
    below = psutil.Process(process.pid).children(recursive=True)
    try:
        for one in below:
            one.suspend()
        process.kill()
        process.wait(timeout=LIMIT)
        alive = [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        names = [" ".join(one.cmdline()) for one in alive]
        assert any("ray::Actor" in name for name in names)
        folders = (tmp_path / "run" / "checkpoint").glob("round_*")
        last = max((int(path.name[6:]) for path in folders), default=0)
        done = fedkd("run", f"resume={tmp_path}/run", "engine=inline", f"rounds={last + 3}")
        assert done.exit_code == 0, done.output
    finally:
        for one in below:
            with suppress(psutil.Error):
                one.kill()


def test_a_forked_child_that_ends_does_not_release_the_lock(tmp_path):
    with locked(tmp_path, "run_dir") as lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if not lock.intact else 1)  # it holds nothing
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(ConfigError, match="in use"), locked(tmp_path, "run_dir"):
            pass


def test_readers_share_and_keep_writers_out(tmp_path):
    refused = pytest.raises(ConfigError, match="another process that reads it")
    reading = locked(tmp_path, "run", shared=True)
    with reading, locked(tmp_path, "run", shared=True), refused:
        simulate("local", clients=2, engine="inline", run_dir=str(tmp_path))
    simulate("local", clients=2, rounds=1, engine="inline", run_dir=str(tmp_path))


def test_a_second_sweep_in_one_folder_is_refused(tmp_path):
    with locked(tmp_path / "sweep", "run_dir"):
        done = fedkd("run", "-m", *SMALL, "seed=0,1", f"run_dir={tmp_path}/sweep")
    assert done.exit_code == 2
    assert "in use" in done.stderr
    assert not (tmp_path / "sweep").exists() or not list((tmp_path / "sweep").iterdir())


def test_what_is_refused_leaves_no_lock_behind(tmp_path):
    assert fedkd("run", *SMALL, "model=lenet", f"run_dir={tmp_path}").exit_code == 2
    assert not (tmp_path / ".lock").exists()


def test_a_file_system_without_locks_is_named_once(tmp_path, monkeypatch, caplog):
    def without(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)
    for number in range(2):
        run_dir = tmp_path / str(number)
        simulate("local", clients=2, rounds=1, engine="inline", run_dir=str(run_dir))
        assert json.loads((run_dir / "summary.json").read_text())["rounds"] == 1
    assert caplog.text.count("are not locked") == 1


class Remove(Callback):
    """Removes the run directory, and perhaps puts another in its place, in the second round."""

    def __init__(self, hook, replace):
        self.hook, self.replace = hook, replace

    def on_run_start(self, run):
        self.run_dir = run.run_dir

    def on_phase(self, round_, phase, done, total):
        self.act("phase", round_)

    def on_round(self, record):
        self.act("round", record.round)

    def act(self, hook, round_):
        if (hook, round_) == (self.hook, 2) and (self.run_dir / "rounds.parquet").exists():
            shutil.rmtree(self.run_dir)
            if self.replace:
                self.run_dir.mkdir()


@pytest.mark.parametrize("rounds", [2, 20])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("hook", ["phase", "round"])
def test_a_directory_removed_under_a_run_ends_it(hook, replace, rounds, tmp_path):
    run_dir = tmp_path / "run"
    settings = {"clients": 3, "engine": "inline", "checkpoint.every": 1, "record.knowledge": True}
    with pytest.raises(RunError, match=f"{run_dir} was removed while the run was under way"):
        simulate(
            "fedmd",
            rounds=rounds,
            run_dir=str(run_dir),
            callbacks=[Remove(hook, replace)],
            **settings,
        )
    assert not run_dir.exists() or not list(run_dir.glob("*.*"))


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a place where nobody can write")
def test_an_existing_directory_on_a_read_only_disk(tmp_path):
    done = fedkd("run", *SMALL, "run_dir=/sys/kernel")
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: run_dir=/sys/kernel: cannot be written to: ")


def test_a_file_in_the_run_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "log.txt").mkdir()
    done = fedkd("run", *SMALL, f"run_dir={tmp_path}")
    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path}/log.txt: Is a directory\n"
