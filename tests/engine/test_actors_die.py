"""Actors are killed with SIGKILL, and the run's answer stays what it was."""

import os
import signal
import time
import weakref
from pathlib import Path

import psutil
import pytest
import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError
from support import wait_until

from fedkd import RunError, simulate
from fedkd.callbacks import Callback
from fedkd.config import EngineConfig
from fedkd.engine import blocks, pacing, raygrid, recovery, shared_ray
from fedkd.engine.pool import Pool
from fedkd.engine.warm import WARM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MORTAL = Path(__file__).parents[1] / "plugins" / "mortal.py"
SHORT = {"clients": 8, "rounds": 3, "data.samples_per_client": 20, "transfer.size": 300}
MIXED = {"strategy": "knfu", "model": ["mlp", "lenet5", "resnet8"], "fraction": 0.7}
FEDAVG = {"strategy": "fedavg", "model": "resnet8"}
SECURE = {"strategy": "fedmd", "secure.aggregation": True}


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    with shared_ray(EngineConfig()):
        yield


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    """Return the digest of settings under the inline engine, computed once."""
    known = {}

    def digest(**settings):
        if (key := str(settings)) not in known:
            known[key] = simulate(engine="inline", **SHORT | settings).summary["digest"]
        return known[key]

    return digest


def on_ray(callbacks=(), **settings):
    """Run on two actors; afterwards none is left but those that wait for the next run."""
    restarts = settings.pop("max_restarts", 3)
    engine = {"name": "ray", "actors": 2, "max_restarts": restarts}
    try:
        return simulate(engine=engine, callbacks=callbacks, **SHORT | settings).summary
    finally:
        assert len(WARM.actors) <= 2  # a busy machine's new actor may answer too late to be kept
        waiting = set(ray.get([one.pid.remote() for one in WARM.actors], timeout=120))
        wait_until(lambda: {process.pid for process in actors()} <= waiting)


def actors():
    """Return the processes of the actors."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "Actor" in process.name()]


def mortal(folder, phase, **more):
    """Return the client loop that dies; with times=0 it is what lives on."""
    return {"name": f"{MORTAL}:Mortal", "folder": str(folder), "phase": phase, **more}


@pytest.fixture(autouse=True)
def first_actors(monkeypatch):
    """Note the actors that runs start with: Ray knows their processes better than their names."""
    begin = Pool.__init__

    def noting(pool, *given):
        begin(pool, *given)
        STARTED[:] = [home.actor for home in pool.homes]

    monkeypatch.setattr(Pool, "__init__", noting)
    STARTED.clear()


STARTED = []


class Reaper(Callback):
    """Kills actors from outside, once, when a phase has had its first reply."""

    def __init__(self, phase, round_=2, victims=1):
        self.phase, self.round, self.victims = phase, round_, victims
        self.pids = []

    def on_phase(self, round_, phase, done, total):
        if phase == "hello" and not self.pids:  # before there is work that this could wait for
            self.pids = ray.get([actor.pid.remote() for actor in STARTED], timeout=120)
        if (round_, phase) == (self.round, self.phase) and done:
            self.kill()

    def on_round(self, record):
        if (record.round, self.phase) == (self.round, "idle"):
            self.kill()
            time.sleep(1)  # Ray has noticed by then

    def kill(self):
        self.round = None
        found = self.pids or [process.pid for process in actors()]  # Flower has its own
        assert len(found) == 2
        for pid in found[: self.victims]:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("phase", "times", "settings"),
    [("fit", 2, MIXED), ("distil", 1, MIXED), ("snapshot", 1, MIXED), ("fit", 2, FEDAVG)],
)
def test_an_actor_that_dies_over_its_work(phase, times, settings, inline, tmp_path):
    """Two deaths in one place: the second one is while the first is being made good."""
    expected = inline(client=mortal("", phase, times=0), **settings)
    summary = on_ray(client=mortal(tmp_path, phase, times=times), **settings)
    assert summary["restarts"] == len(list(tmp_path.iterdir())) == times
    assert (summary["digest"], summary["rejected"]) == (expected, 0)


@pytest.mark.parametrize("times", [1, 3])
def test_an_actor_that_dies_over_a_fusion_block(times, inline, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "TRIALS", 0)  # none is computed here
    strategy = {"name": f"{MORTAL}:MortalMean", "folder": "", "times": 0}
    settings = {"transfer.size": 600}  # three blocks
    expected = inline(strategy=strategy, **settings)
    summary = on_ray(strategy=strategy | {"folder": str(tmp_path), "times": times}, **settings)
    assert summary["restarts"] == len(list(tmp_path.iterdir())) == times
    assert summary["digest"] == expected


@pytest.mark.parametrize(
    ("phase", "round_", "victims", "settings"),
    [
        ("hello", 0, 2, MIXED),
        ("fit", 3, 2, MIXED),
        ("distil", 2, 2, MIXED),
        ("train", 2, 1, FEDAVG),
        ("evaluate", 2, 2, FEDAVG),
        ("evaluate", 3, 2, MIXED | {"strategy": "feddf"}),
        ("snapshot", 3, 1, MIXED),
        ("share", 2, 1, SECURE),
        ("unmask", 3, 1, SECURE),
        ("idle", 2, 2, MIXED),
    ],
)
def test_actors_killed_from_outside(phase, round_, victims, settings, inline):
    summary = on_ray([Reaper(phase, round_, victims)], **settings)
    assert summary["digest"] == inline(**settings)
    # Nobody misses an actor that has said the last thing it was asked for.
    unseen = phase == "snapshot" and not summary["restarts"]
    assert unseen or summary["restarts"] == victims


def test_too_many_deaths_end_the_run(tmp_path):
    with pytest.raises(RunError, match=r"died after 0 restarts \(engine\.max_restarts=0\)"):
        on_ray([Reaper("fit")], max_restarts=0)
    client = mortal(tmp_path, "fit", times=99)
    with pytest.raises(RunError, match=r"died after 2 restarts \(engine\.max_restarts=2\)"):
        on_ray(client=client, max_restarts=2)
    assert len(list(tmp_path.iterdir())) == 3
    assert ray.is_initialized()


@pytest.mark.parametrize("victims", [1, 2])
def test_the_flower_engine_says_that_an_actor_died(victims):
    engine = {"name": "flower", "actors": 2}
    with pytest.raises(RunError, match=r"engine=flower lost an actor.*ActorDiedError"):
        simulate(engine=engine, callbacks=[Reaper("fit", 2, victims)], **SHORT)


class Grumbling:
    """Stands for `ray.get`: the nth result of a chunk is an error instead."""

    def __init__(self, error, nth):
        self.error, self.nth, self.get, self.seen = error, nth, ray.get, 0

    def __call__(self, reference, **options):
        result = self.get(reference, **options)
        if isinstance(result, list) and result:
            self.seen += 1
            if self.seen == self.nth:
                raise self.error
        return result


def test_an_actor_out_of_reach_is_not_a_dead_one(monkeypatch, inline):
    expected = inline(**MIXED)
    grumbling = Grumbling(ActorUnavailableError("the wire is cut", None), nth=20)
    monkeypatch.setattr(recovery.ray, "get", grumbling)
    summary = on_ray(**MIXED, max_restarts=0)
    assert grumbling.seen > 20
    assert (summary["digest"], summary["restarts"]) == (expected, 0)


def test_out_of_memory_says_what_to_do(monkeypatch):
    monkeypatch.setattr(recovery.ray, "get", Grumbling(OutOfMemoryError("no room"), nth=20))
    with pytest.raises(RunError, match=r"out of memory; lower engine\.actors or fit\.batch_size"):
        on_ray(max_restarts=0)


@pytest.mark.parametrize(("share", "rounds"), [(1e9, 1), (0.0, 4)], ids=["always", "seldom"])
def test_what_is_kept_for_recovery_is_bounded(share, rounds, monkeypatch):
    chunks, kept = [], []

    class Noted(recovery.Chunk):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            chunks.append(weakref.ref(self))

    monkeypatch.setattr(recovery, "Chunk", Noted)
    monkeypatch.setattr(recovery, "SHARE", share)
    monkeypatch.setattr(recovery, "MAX_ROUNDS", rounds)
    monkeypatch.setattr(pacing, "CHUNK_SECONDS", 1e-9)  # as many chunks in each round
    monkeypatch.setattr(raygrid, "moves", lambda loads: [])

    class Scales(Callback):
        def on_round(self, record):
            kept.append(sum(chunk() is not None for chunk in chunks))

    on_ray([Scales()], rounds=3 * rounds)
    assert min(kept) > 0
    one = kept[0] if rounds == 1 else kept[1]
    assert max(kept[1:]) <= rounds * one, kept
