"""A Ray that we start is taken down; nothing of ours is left behind."""

import subprocess
import sys

import pytest

SCRIPT = """
import ray, psutil
from fedkd import simulate
if __name__ == "__main__":
    simulate(clients=4, rounds=1, engine={"name": "ENGINE", "actors": 2})
    assert not ray.is_initialized()
    gone, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=120)
    assert not alive, alive
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "flower"])
def test_nothing_is_left_behind(engine):
    script = SCRIPT.replace("ENGINE", engine)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
