"""A simulator phones nobody and lets no stranger in."""

import os
import re
import subprocess
import sys

import pytest

STRANGER = """
import os, subprocess, sys
from fedkd.environment import set_defaults
set_defaults()
from fedkd.config import EngineConfig
from fedkd.engine import shared_ray
JOIN = "import ray; ray.init(address={!r}, log_to_driver=False)"
if __name__ == "__main__":
    with shared_ray(EngineConfig()):
        import ray
        code = JOIN.format(ray.get_runtime_context().gcs_address)
        bare = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
        for environment in (bare, None):
            done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=90,
                                  capture_output=True)
            print(done.returncode)
"""


def clean():
    names = ("RAY_AUTH", "RAY_USAGE", "FLWR_TELEMETRY")
    return {k: v for k, v in os.environ.items() if not k.startswith(names)}


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean(),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    ).stdout.split()


def test_telemetry_is_off_and_a_token_is_made():
    code = (
        "import os; from fedkd.environment import set_defaults as s; s(); e = os.environ;"
        "print(e['FLWR_TELEMETRY_ENABLED'], e['RAY_USAGE_STATS_ENABLED'], e['RAY_AUTH_MODE'],"
        "e['RAY_AUTH_TOKEN'])"
    )
    *settings, token = python(code)
    assert settings == ["0", "0", "token"]
    assert re.fullmatch("fedkd[0-9a-f]{64}", token)


def test_an_imported_ray_is_left_as_it_is():
    code = (
        "import os, ray; from fedkd.environment import set_defaults as s; s();"
        "print('RAY_AUTH_MODE' in os.environ)"
    )
    assert python(code) == ["False"]


@pytest.mark.slow
def test_a_stranger_cannot_join_our_ray():
    stranger, child = python(STRANGER)
    assert (stranger, child) == ("1", "0")
