"""Actors and Ray outlive a run in one process; nothing of the run does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import ray

import fedkd
from fedkd import RunError, resume, simulate
from fedkd.callbacks import Callback
from fedkd.config import EngineConfig
from fedkd.engine import traces, warm
from fedkd.engine.cluster import surroundings
from fedkd.engine.warm import WARM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

LEAVING = Path(__file__).parents[1] / "plugins" / "traces.py"
SHORT = {"clients": 4, "rounds": 2, "data.samples_per_client": 20, "transfer.size": 60}
RAY = {"name": "ray", "actors": 2}
LIMIT = 120
"""Seconds after which what we wait for is not going to happen."""


@pytest.fixture(scope="module", autouse=True)
def own_ray():
    """Start with nothing, leave nothing."""
    fedkd.shutdown()
    yield
    fedkd.shutdown()


def leaving(what, folder=""):
    return {"name": f"{LEAVING}:Leaving", "what": what, "folder": str(folder)}


def on_ray(strategy="local", **settings):
    settings = {"engine": RAY, "client": leaving("nothing")} | settings
    return simulate(strategy, **SHORT | settings)


def pids(run):
    """Return the processes that a run's clients trained in."""
    return {int(row["value"]) for row in run.clients.to_pylist() if row["metric"] == "pid"}


def waiting():
    """Return the processes of the actors that wait for the next run."""
    return set(ray.get([actor.pid.remote() for actor in WARM.actors], timeout=LIMIT))


def alive(found):
    """Return which of some processes do not end."""
    there = [psutil.Process(pid) for pid in found if psutil.pid_exists(pid)]
    return psutil.wait_procs(there, timeout=LIMIT)[1]


# -- nothing of one run reaches the next ---------------------------------------------------------

A = {
    "strategy": "knfu",
    "compress": {"name": "topk", "k": 3},
    "engine": RAY | {"state_memory": "1kB"},
    "faults.crash": 0.2,
    "seed": 1,
}
OTHERS = {
    "other seed": A | {"seed": 2},
    "models": {"strategy": "fedavg", "model": ["lenet5"], "clients": 7, "engine": RAY},
    "secure": {"strategy": "fedmd", "secure.aggregation": True, "secure.rng": "os", "engine": RAY},
    "ledger": {
        "client": "standard",
        "privacy": {"name": ["nfdp", "dp_sgd"], "k": 15, "noise_multiplier": 1.0},
    },
    "stack": {"strategy": "fedmd", "engine": RAY | {"stack": 2}},
}


def test_a_ray_that_comes_up_later_than_the_run_is_prepared_is_the_next_runs_too(monkeypatch):
    """Ray sets variables once it is up."""
    start = ray.init
    monkeypatch.setattr(ray, "init", lambda *given, **more: (time.sleep(3), start(*given, **more)))
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    found, before = pids(on_ray()), warm.session()
    assert pids(on_ray()) == found
    assert warm.session() == before


def test_a_run_is_what_it_is_after_others():
    """Codecs' feedback, spilled state, faults, a ledger, masks from the system's randomness."""
    inline = {
        name: on_ray(**case | {"engine": "inline"}).summary["digest"]
        for name, case in {"A": A, **OTHERS}.items()
    }
    first = on_ray(**A)
    found, processes = {"A": first.summary["digest"]}, pids(first)
    for name, case in OTHERS.items():
        summary = on_ray(**case).summary
        found[name] = summary["digest"]
        assert (waiting(), summary["restarts"]) == (processes, 0), name
    again = on_ray(**A)
    assert (found, again.summary["digest"]) == (inline, inline["A"])
    assert pids(again) == processes


def test_an_actor_that_is_as_good_as_new_is_used_again():
    """Global generators are put back."""
    first = on_ray(client=leaving("numbers"))
    assert pids(first) == waiting() == pids(on_ray())


TRACES = {
    "precision": "torch.get_float32_matmul_precision",
    "environment": "os.environ[LEFT_BY]",
    "patch": "torch.relu",
    "method": "fedkd.clients.standard.Standard.predict",
    "hook": "torch.nn.modules.module hooks",
    "path": "sys.path",
    "module": "a_users_own",
    "thread": "left",
}


@pytest.mark.parametrize("left", [TRACES, {"class": "Leaving"}], ids=["all", "class"])
def test_an_actor_that_a_run_has_changed_is_not(left, tmp_path):
    (tmp_path / "a_users_own.py").write_text("")
    what = "+".join(left)
    run = on_ray(client=leaving(what, tmp_path), run_dir=str(tmp_path / "run"))
    assert not waiting()
    log = (tmp_path / "run" / "log.txt").read_text()
    (line, *more) = [one for one in log.splitlines() if "is not used again: " in one]
    named = line.partition("is not used again: ")[2].split(", ")
    assert set(named) >= set(left.values())
    assert ("Leaving" in named) == ("class" in left)
    assert len(more) == 1
    assert not alive(pids(run))


LOOP = """
from fedkd.clients.standard import Standard

class Loop(Standard):
    seen = 0
    def fit(self, clients):
        Loop.seen += 1
        Loop.more = getattr(Loop, "more", 0) + 1
        return [n | {"version": VERSION, "seen": Loop.seen, "more": Loop.more}
                for n in super().fit(clients)]
"""


def test_a_plug_in_of_the_same_name_with_other_code(tmp_path):
    """What a class has counted is gone with the run, also if the code is the same."""
    path, before = tmp_path / "loop.py", pids(on_ray())
    for version in ("1.0", "2.0", "2.0"):
        path.write_text(LOOP.replace("VERSION", version))
        run = simulate(engine=RAY, client=f"{path}:Loop", **SHORT)
        rows = run.clients.to_pylist()
        seen, more = (
            sorted(r["value"] for r in rows if r["metric"] == metric) for metric in ("seen", "more")
        )
        most = int(seen[-1])  # of the eight fits; a client moves to an actor that is ahead
        assert seen == more == sorted([*range(1, most + 1), *range(1, 8 - most + 1)])
        assert {r["value"] for r in rows if r["metric"] == "version"} == {float(version)}
        assert waiting() == before


def test_nothing_of_a_run_is_held(tmp_path):
    """Neither its files nor its memory, here or in the actors."""
    processes = [psutil.Process(pid) for pid in pids(on_ray())]
    before = [process.memory_full_info().uss for process in processes]
    where = str(tmp_path / "run")
    big = {"clients": 2, "data.samples_per_client": 400, "model": "resnet8", "rounds": 1}
    simulate("fedavg", engine=RAY, run_dir=where, **SHORT | big)
    assert waiting() == {process.pid for process in processes}
    for process, bytes_before in zip(processes, before, strict=True):
        held = [one.path for one in (*process.open_files(), *process.memory_maps())]
        assert not [path for path in held if path.startswith(where)]
        assert process.memory_full_info().uss < bytes_before + 2**26
    assert not (tmp_path / "run" / "state").exists()


def test_deaths_count_from_zero_and_between_runs_not_at_all():
    class Reaper(Callback):
        def on_round(self, record):
            if record.round == 1:
                os.kill(victim, signal.SIGKILL)

    for _ in range(2):
        victim = next(iter(pids(on_ray())))
        run = on_ray(engine=RAY | {"max_restarts": 1}, callbacks=[Reaper()])
        assert run.summary["restarts"] == 1
        found = waiting()
        assert len(found - {victim}) == 2  # with the one that has come for the dead one
    os.kill(next(iter(found)), signal.SIGKILL)
    run = on_ray(engine=RAY | {"max_restarts": 0})
    assert run.summary["restarts"] == 0
    assert len(found & pids(run)) <= 1


def test_a_run_that_ends_badly_leaves_no_actor(tmp_path):
    class Stop(Callback):
        def on_round(self, record):
            raise KeyboardInterrupt

    where = {"run_dir": str(tmp_path / "run"), "checkpoint.every": 1, "strategy": "fedmd"}
    whole = on_ray("fedmd").summary["digest"]
    found = waiting()
    with pytest.raises(KeyboardInterrupt):
        on_ray(callbacks=[Stop()], **where)
    assert not ray.is_initialized()
    assert not alive(found)
    assert resume(tmp_path / "run").summary["digest"] == whole
    found = waiting()
    with pytest.raises(RunError, match=r"every client failed"):
        on_ray(client=f"{LEAVING.parent}/probe.py:Faulty", clients=1)
    assert ray.is_initialized()
    assert not alive(found)


# -- what would be started now -------------------------------------------------------------------


def test_another_number_of_actors():
    assert len(first := pids(on_ray(engine=RAY | {"actors": 4}))) == 4
    assert len(found := pids(on_ray())) == 2
    assert found < first
    assert not alive(first - found)


def test_fedkd_was_edited(monkeypatch):
    found = pids(on_ray())
    os.utime(traces.__file__)
    assert not found & pids(on_ray())


@pytest.mark.parametrize("what", ["environment", "folder", "path"])
def test_other_surroundings_are_noticed(what, elsewhere, report):
    """Whether runs write reports is nothing to an actor."""
    before = surroundings(EngineConfig())
    os.environ["FEDKD_REPORT"] = "0"
    assert surroundings(EngineConfig()) == before
    elsewhere(what)
    assert surroundings(EngineConfig()) != before


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Return what changes the surroundings."""
    change = {
        "environment": lambda: monkeypatch.setenv("SOME_VARIABLE", "that a plug-in reads"),
        "folder": lambda: monkeypatch.chdir(tmp_path),
        "path": lambda: monkeypatch.syspath_prepend(str(tmp_path)),
    }
    return lambda what: change[what]()


def test_other_surroundings_have_another_ray(elsewhere):
    found = pids(on_ray())
    before = warm.session()
    elsewhere("environment")
    assert not found & pids(on_ray())
    assert warm.session() != before
    assert not alive(found)


def test_the_flower_engine_has_all_of_ray():
    found = pids(on_ray())
    simulate(engine=RAY | {"name": "flower"}, **SHORT)
    assert not alive(found)


# -- it ends -------------------------------------------------------------------------------------


def test_actors_wait_for_a_while_only(monkeypatch):
    monkeypatch.setattr(warm, "IDLE_SECONDS", 0.1)
    found = pids(on_ray())
    assert not alive(found)
    assert ray.is_initialized()
    monkeypatch.undo()
    assert not found & pids(on_ray())


def test_not_more_actors_wait_than_may(monkeypatch):
    monkeypatch.setattr(warm, "MOST", 1)
    found = pids(on_ray())
    assert len(waiting()) == 1
    assert not alive(found - waiting())


def test_shutdown_ends_all():
    on_ray()
    below = psutil.Process().children(recursive=True)
    fedkd.shutdown()
    fedkd.shutdown()
    assert not ray.is_initialized()
    assert not psutil.wait_procs(below, timeout=LIMIT)[1]


USERS = """
import psutil, ray
import fedkd
from fedkd.engine import warm

def actors():
    return [p for p in psutil.Process().children(recursive=True) if "Actor" in p.name()]

@ray.remote(num_cpus=2)
def all_cpus():
    return "mine"

if __name__ == "__main__":
    engine, warm.ANSWER_SECONDS = {"name": "ray", "actors": 1}, 100.0
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    theirs = warm.session()
    for seconds in (1000.0, 1000.0, 0.5):
        warm.LENT_SECONDS = seconds
        fedkd.simulate("local", clients=2, rounds=1, engine=engine)
        assert warm.session() == theirs
        assert seconds < 1000 or len(warm.WARM.actors) == 1
    print(ray.get(all_cpus.remote(), timeout=100))  # once the actors have gone
    assert not warm.WARM.actors
    warm.LENT_SECONDS = 1000.0
    fedkd.simulate("local", clients=2, rounds=1, engine=engine)
    fedkd.shutdown()
    assert warm.session() == theirs
    fedkd.simulate("local", clients=2, rounds=1, engine=engine)
    left = actors()
    assert left
    ray.shutdown()
    assert not psutil.wait_procs(left, timeout=100)[1]
    fedkd.simulate("local", clients=2, rounds=1, engine=engine)  # now in one of fedkd's own
    assert warm.session() not in (None, theirs)
    print("done")
"""


def test_a_ray_of_the_users_stays_theirs():
    done = subprocess.run(
        [sys.executable, "-c", USERS], capture_output=True, text=True, timeout=270, check=False
    )
    assert done.stdout.split() == ["mine", "done"], done.stderr


ENDS = """
import os, signal, sys, time
import fedkd, psutil
if __name__ == "__main__":
    fedkd.simulate("local", clients=2, rounds=1, engine={"name": "ray", "actors": 1})
    print(*[one.pid for one in psutil.Process().children(recursive=True)], flush=True)
    if sys.argv[1] == "wait":
        time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["exit", "SIGTERM", "SIGKILL"])
def test_with_the_process_all_ends(how):
    mode = "exit" if how == "exit" else "wait"
    default = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    with subprocess.Popen(
        [sys.executable, "-c", default + ENDS, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        found = [int(pid) for pid in process.stdout.readline().split()]
        assert len(found) > 2
        if how != "exit":
            process.send_signal(getattr(signal, how))
        process.communicate(timeout=LIMIT)
    assert not alive(found)
