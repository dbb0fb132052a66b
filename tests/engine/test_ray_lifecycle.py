"""A Ray that we start is taken down with the process, or before; nothing of ours is left behind."""

import os
import subprocess
import sys

import pytest
from support import LIMIT

from fedkd import simulate
from fedkd.engine.spare import LONGING, spared

SCRIPT = """
import ray, psutil
from fedkd import shutdown, simulate
if __name__ == "__main__":
    simulate(clients=4, rounds=1, engine={"name": "flower", "actors": 1})
    assert ray.is_initialized()
    shutdown()
    assert not ray.is_initialized()
    gone, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=120)
    assert not alive, alive
"""


@pytest.mark.slow
def test_nothing_is_left_behind():
    """What the Ray engine leaves, `test_warm` says."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("users", [None, "7"])
def test_what_ray_is_started_with_is_not_left_in_the_environment(users, monkeypatch):
    variable, ours = LONGING
    monkeypatch.delenv(variable, raising=False)
    if users is not None:
        monkeypatch.setenv(variable, users)
    with spared():
        assert os.environ[variable] == (users or ours)
    assert os.environ.get(variable) == users


BUSY = """
import sys
import psutil, ray
from ray._private import services
from fedkd import RunError, shutdown, simulate

get_node, calls = services.get_node, []

def slow(*given):
    raylets = [p for p in psutil.Process().children(recursive=True) if "raylet" in p.name()]
    calls.append(len(raylets))
    if len(calls) <= int(sys.argv[1]):  # what Ray says after 30 s
        raise Exception("The current node timed out during startup.\\nMore.")
    return get_node(*given)

services.get_node = slow
if __name__ == "__main__":
    try:
        simulate(clients=4, rounds=1, engine={"name": "ray", "actors": 1})
        print("ran", calls[:2])
    except RunError as error:
        print(error, calls[:2])
    shutdown()
    gone, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=120)
    assert not alive, alive
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failures", "said"),
    [
        (1, "ran"),
        (
            2,
            "Ray did not start in 2 attempts; try again when the machine is less busy, or use "
            "engine=inline (The current node timed out during startup.)",
        ),
    ],
)
def test_a_start_that_takes_too_long_is_tried_once_more(failures, said):
    """Each time with one raylet: what the first attempt had started has ended before the second."""
    done = subprocess.run(
        [sys.executable, "-c", BUSY, str(failures)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"{said} [1, 1]"), done.stderr


AHEAD = """
import sys, psutil
from fedkd import simulate
from fedkd.errors import FedkdError
from fedkd.run import preparing

own = preparing.build_federation

def dealing(*args):
    import ray
    names = lambda: [one.name() for one in psutil.Process().children()]
    while not any("gcs" in name for name in names()):
        pass  # Ray is coming up while samples are dealt
    if sys.argv[1] == "refused":
        raise FedkdError("refused")
    return own(*args)

preparing.build_federation = dealing
try:
    done = simulate("fedmd", clients=2, rounds=1, engine=sys.argv[2])
    print(done.summary["digest"])
except FedkdError as error:
    print(error)
    preparing.build_federation = own
    print(simulate("fedmd", clients=2, rounds=1, engine=sys.argv[2]).summary["digest"])
print([one.name() for one in psutil.Process().children() if "raylet" in one.name()])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "engine"), [("runs", "ray"), ("refused", "flower")])
def test_ray_starts_while_samples_are_dealt(how, engine):
    """If the run is refused, that Ray is the next one's."""
    done = subprocess.run(
        [sys.executable, "-c", AHEAD, how, engine],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    inline = simulate("fedmd", clients=2, rounds=1, engine="inline").summary["digest"]
    said = ["refused"] if how == "refused" else []
    assert done.stdout.splitlines() == [*said, inline, "['raylet']"], done.stderr


def test_a_process_does_not_end_while_ray_starts():
    code = """
import atexit, time
from fedkd.engine.ahead import Start
atexit.register(print, "handlers run")
Start(lambda: (time.sleep(1), print("up")))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.split("\n")[:2] == ["up", "handlers run"]
