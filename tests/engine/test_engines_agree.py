"""Three engines, one answer; and they really are three."""

import os
from pathlib import Path

import psutil
import pytest
import ray
from flwr.supercore.task_identity import TaskIdentity
from support import mostly_slow

from fedkd import RunError, simulate
from fedkd.config import EngineConfig
from fedkd.engine import shared_ray
from fedkd.engine.warm import WARM
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy

PROBE = Path(__file__).parents[1] / "plugins" / "probe.py"
EXAMPLES = Path(__file__).parents[2] / "experiments" / "plugins"
SHORT = {"clients": 6, "rounds": 2, "data.samples_per_client": 20, "transfer.size": 100}
MIXED = {"model": ["mlp", "lenet5"], "fraction": 0.5, "rounds": 3}
HALF = {"fraction": 0.5, "rounds": 3}
BUFFERS = {"model": ["mlp", "lenet5", "resnet8"], "rounds": 3}
"""With normalisation: models that have more than parameters."""
SUBSETS = {"transfer.per_round": 40, "evaluate.samples": 50, "data.validation": 0.2}
PLUG_INS = {
    "median": {"strategy": f"{EXAMPLES}/median.py:Median"},
    "nearest": {"strategy": {"name": "fedkd.experiments.plugins.nearest:Nearest", "beta": 5}},
    "loop": {"client": {"name": f"{EXAMPLES}/label_smoothing.py:Smoothed", "smoothing": 0.2}},
}
LABELS = {"rounds_per_cycle": 1, "initial": 0.2, "budget": 0.1}
ACTIVE = {
    "kafal-cycles": {"strategy": {"name": "kafal", **LABELS}, "sampler": "badge", "rounds": 3},
    "kafal_soft-cycles": {"strategy": {"name": "kafal_soft", **LABELS}, "rounds": 3},
    "kafal_student-cycles": {"strategy": {"name": "kafal_student", **LABELS}, "fraction": 0.5},
}
"""Active learning with queries: the strategies' defaults have none in so few rounds."""
EASING = {"name": "linear", "start": 4, "end": 1}
VOTES = {"name": "fedmd", "exchange": "soft_labels"}
PRIVATE = {
    "private-noise": {"privacy": {"name": "gaussian", "epsilon": 1000.0}, **MIXED},
    "private-fit": {
        "privacy": {"name": ["nfdp", "dp_sgd", "laplace"], "k": 15, "noise_multiplier": 1.0},
        "model": ["mlp", "lenet5"],
        "fraction": 0.5,
    },
    "private-fedavg": {"strategy": "fedavg", "privacy": {"name": "dp_sgd", "epsilon": 9.0}},
    "private-votes": {"strategy": VOTES, "privacy": {"name": "pate", "noise_multiplier": 0.3}},
}
TOGETHER = {
    "together-soft": {
        "strategy": {"name": "knfu", "beta": "auto", "betas": [0, 3]},
        "data.validation": 0.2,
        "objective": "rkd",
        "distil.temperature": EASING,
        "distil.weight": EASING,
        "model": ["mlp", "lenet5"],
        "fraction": 0.7,
        "transfer.mixup": 0.5,
        "fit.align": "upload",
        "guard": ["kd3", "kl_dp"],
        "attack": {"name": "lma", "fraction": 0.3},
        "compress": {"name": "topk", "k": 5},
        "faults.straggler": 0.1,
        "system": "lognormal",
        "system.availability": 0.8,
    },
    "together-labels": {
        "strategy": "expguard",
        "transfer.data": "noise",
        "objective": "dhkd",
        "guard": "mulki",
        "attack": {"name": "label_flip", "fraction": 0.3},
        "compress": "float16",
    },
    "together-sent": {
        "strategy": {"name": "fedmd", "exchange": "logits"},
        "rounds": 3,
        "transfer.labelled": True,
        "transfer.hard": True,
        "transfer.views": 3,
        "objective": "ctkd",
        "guard": "bsd",
        "attack": {"name": "random_one_hot", "fraction": 0.3},
        "compress": "quantised",
        "privacy": {"name": "gaussian", "clip": 5.0, "noise_multiplier": 0.001},
    },
}
"""What runs may have besides, several at once: a difference would be one of them, named by tests of
each on Ray."""
CASES = {
    **PRIVATE,
    **TOGETHER,
    "fedmd-kl": {"strategy": {"name": "fedmd", "exchange": "soft_labels"}},
    "knfu-mixed": {"strategy": "knfu", **MIXED | BUFFERS},
    "knfu-subsets": {"strategy": "knfu", **SUBSETS},
    "fedmd-mixed": {"strategy": "fedmd", **MIXED},
    "feddf-mixed": {"strategy": "feddf", **MIXED | BUFFERS},
    "scaffold-half": {"strategy": "scaffold", **HALF},
    "fedproto-mixed": {"strategy": "fedproto", **MIXED},
    "taid": {"objective": "taid", "distil.epochs": 2},
    "fedavg-resnet": {"strategy": "fedavg", "model": "resnet8", "fraction": 0.3},
    "fedadam-half": {"strategy": "fedadam", "fraction": 0.5, "rounds": 3},
    "krum": {"strategy": "flwr.serverapp.strategy:Krum"},
    **PLUG_INS,
    **ACTIVE,
    **{
        name: {
            "strategy": {"name": name, **method.brief},
            "transfer.labelled": method.needs_labels,
        }
        for name, method in available("strategies", Strategy).items()
    },
}
FLOWER = ("private-fit", "fedavg", "loop", "kafal-cycles", *TOGETHER)


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    with shared_ray(EngineConfig()):
        yield


@pytest.fixture(scope="module")
def inline():
    """Return the digest of a case under the inline engine, computed once."""
    known = {}

    def digest(case):
        if case not in known:
            known[case] = simulate(engine="inline", **SHORT | CASES[case]).summary["digest"]
        return known[case]

    return digest


@pytest.mark.parametrize("case", mostly_slow(CASES, "knfu-mixed", "fedavg"))
def test_ray_agrees_with_inline(case, inline):
    run = simulate(engine={"name": "ray", "actors": 2}, **SHORT | CASES[case])
    assert run.summary["digest"] == inline(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["knfu-mixed", "fedmd-mixed", "fedavg", "cronus"])
@pytest.mark.parametrize("actors", [1, 4])  # the slower to change: they stay for the next case
def test_the_number_of_actors_does_not_matter(case, actors, inline):
    run = simulate(engine={"name": "ray", "actors": actors}, **SHORT | CASES[case])
    assert run.summary["digest"] == inline(case)


@pytest.mark.parametrize("case", mostly_slow(FLOWER, "together-soft"))
def test_flower_agrees_with_inline(case, inline):
    before = dict(vars(TaskIdentity))
    run = simulate(engine={"name": "flower", "actors": 2}, **SHORT | CASES[case])
    assert run.summary["digest"] == inline(case)
    assert dict(vars(TaskIdentity)) == before, "Flower's run left its identity in this process"


@pytest.mark.parametrize(("strategy", "more"), [("knfu", {}), ("feddf", HALF)])
@pytest.mark.parametrize("name", mostly_slow(["ray", "flower"], "ray"))
def test_what_is_measured_is_the_same_on_every_engine(name, strategy, more):
    settings = SHORT | SUBSETS | {"model": ["lenet5", "mlp", "resnet8"], "clients": 6} | more
    engines = "inline", {"name": name, "actors": 2}
    runs = [simulate(strategy, engine=engine, **settings) for engine in engines]
    one, other = (sorted(tuple(row.values()) for row in run.clients.to_pylist()) for run in runs)
    assert one == other
    columns = [name for name in runs[0].rounds.column_names if "seconds" not in name]
    assert {"evaluated", "alma_local", "alma_ece", "alma_validation"} <= set(columns)
    assert runs[0].rounds.select(columns) == runs[1].rounds.select(columns)


def metric(run, name):
    rows = run.clients.to_pylist()
    return {row["value"] for row in rows if row["metric"] == name}


@pytest.mark.parametrize("name", mostly_slow(["inline", "ray", "flower"], "inline", "ray"))
def test_the_engines_are_three(name):
    engine = {"name": name, "actors": 2}
    run = simulate(engine=engine, client=f"{PROBE}:Probe", **SHORT)
    pids = metric(run, "pid")
    assert metric(run, "flower") == {float(name == "flower")}
    if name == "inline":
        assert pids == {os.getpid()}
    else:
        assert len(pids) == 2
        assert os.getpid() not in pids


@pytest.mark.parametrize("name", mostly_slow(["inline", "ray", "flower"], "inline"))
def test_one_client_may_fail_but_not_all(name):
    engine = {"name": name, "actors": 2}
    run = simulate(engine=engine, client={"name": f"{PROBE}:Faulty", "below": 1}, **SHORT)
    assert run.summary["rejected"] == 2  # client 0, in two rounds
    with pytest.raises(RunError, match=r"every client failed in train\.fit.*sensor is on fire"):
        simulate(engine=engine, client={"name": f"{PROBE}:Faulty", "below": 10}, **SHORT)


@pytest.mark.parametrize("name", mostly_slow(["inline", "ray", "flower"], "inline"))
def test_what_a_plug_in_does_wrong_is_said_on_every_engine(name):
    with pytest.raises(RunError, match=r"strategy NotANumber: fuse\(\) finite"):
        simulate(f"{PROBE}:NotANumber", engine={"name": name, "actors": 2}, **SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "flower"])
def test_a_ray_that_was_there_stays_and_our_actors_go(name):
    """Those that wait for the next run go, too: `test_warm` says when."""
    assert ray.is_initialized()
    simulate(engine={"name": name, "actors": 2}, **SHORT)
    assert ray.is_initialized()
    assert len(WARM.actors) == (2 if name == "ray" else 0)
    WARM.dismiss()
    gone, alive = psutil.wait_procs(
        [p for p in psutil.Process().children(recursive=True) if "Actor" in p.name()], timeout=120
    )
    del gone
    assert not alive
