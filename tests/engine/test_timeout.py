"""A client that hangs costs itself the phase, and nobody else anything."""

from pathlib import Path

import psutil
import pytest
from support import wait_until

from fedkd import ConfigError, resume, simulate
from fedkd.callbacks import Callback
from fedkd.config import EngineConfig
from fedkd.engine import shared_ray
from fedkd.engine.warm import WARM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

HANGING = Path(__file__).parents[1] / "plugins" / "hanging.py"
SHORT = {"clients": 7, "rounds": 3, "data.samples_per_client": 20, "transfer.size": 60}
SECONDS = 10
"""Far longer than any message takes, however busy the machine is."""


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    with shared_ray(EngineConfig()):
        yield


def hanging(phase, how="hang", **more):
    return {"name": f"{HANGING}:Hanging", "phase": phase, "how": how, **more}


def on_ray(client, **settings):
    """Run on two actors; the hanging one is not left, nor any but those that wait."""
    engine = {"name": "ray", "actors": 2, "timeout": SECONDS, "max_restarts": 0}
    try:
        return simulate(engine=engine, client=client, **SHORT | settings)
    finally:
        wait_until(lambda: actors() == len(WARM.actors))


def actors():
    """Return how many processes of actors there are."""
    below = psutil.Process().children(recursive=True)
    return sum("Actor" in process.name() for process in below)


def rejections(result):
    rows = result.clients.to_pylist()
    return [(r["round"], r["client"]) for r in rows if r["metric"] == "rejected"]


CASES = {
    "fit": ("fit", {"strategy": "knfu", "compress": {"name": "topk", "k": 3}}),
    "distil": ("distil", {"strategy": "knfu", "model": ["mlp", "lenet5"]}),
    "absent": ("fit", {"strategy": "fd", "fraction": 0.7, "seed": 2}),
    "fedavg": ("fit", {"strategy": "fedavg"}),
    "measured": ("evaluate", {"strategy": "fedavg", "data.validation": 0.2}),
    "secure": ("fit", {"strategy": "fedmd", "secure.aggregation": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_run_goes_on_as_if_the_client_had_crashed(name, tmp_path):
    phase, settings = CASES[name]
    failing = hanging(phase, "fail", client=3)
    crashed = simulate(engine="inline", client=failing, **SHORT | settings)
    hung = on_ray(hanging(phase, client=3), **settings, run_dir=str(tmp_path / "run"))
    assert hung.summary["digest"] == crashed.summary["digest"]
    assert rejections(hung) == rejections(crashed) == [(2, 3)]
    assert (hung.summary["restarts"], hung.summary["rejected"]) == (1, 1)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"client 3, round 2, {'query' if phase == 'evaluate' else 'train'}" in log
    assert f"no reply within engine.timeout={SECONDS} s" in log


def test_a_limit_that_nobody_reaches_changes_nothing():
    inline = simulate("knfu", engine="inline", **SHORT).summary
    limited = on_ray("standard", strategy="knfu").summary
    assert (limited["digest"], limited["restarts"]) == (inline["digest"], 0)


def test_what_was_lost_is_lost_for_a_resumed_run_too(tmp_path):
    class Stop(Callback):
        def on_round(self, record):
            if record.round == 2:
                raise KeyboardInterrupt

    client, more = hanging("fit"), {"checkpoint.every": 1, "run_dir": str(tmp_path / "run")}
    engine = {"name": "ray", "actors": 2, "timeout": SECONDS}
    whole = simulate("knfu", engine="inline", client=hanging("fit", "fail"), **SHORT)
    with pytest.raises(KeyboardInterrupt):
        simulate("knfu", engine=engine, client=client, callbacks=[Stop()], **SHORT | more)
    gone_on = resume(tmp_path / "run")
    assert whole.summary["rejected"] == 1
    assert gone_on.summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("name", ["inline", "flower"])
def test_engines_that_cannot_end_a_client_refuse(name):
    with pytest.raises(ConfigError, match=rf"engine.timeout=5.0: engine={name} cannot end"):
        simulate(engine={"name": name, "timeout": 5}, **SHORT)
    with pytest.raises(ConfigError, match=r"engine\.stack=4: which of them hangs"):
        simulate(engine={"name": "ray", "timeout": 5, "stack": 4}, **SHORT)
    with pytest.raises(ConfigError, match=r"engine\.timeout=0\.0: must be greater than 0"):
        simulate(engine={"name": "ray", "timeout": 0}, **SHORT)
