"""Every objective in whole runs: under two methods, mixed models, resumed, and on actors."""

from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from support import MIXED, TINY, mostly_slow

from fedkd import resume, simulate
from fedkd.config import EngineConfig
from fedkd.distillation import Objective
from fedkd.engine import shared_ray
from fedkd.plugins import available

EVERY = available("distillation", Objective).items()
OF_CLASSES = {k: cls for k, cls in EVERY if cls.kinds is None or "soft_labels" in cls.kinds}
STAGES = "ofa with stages"
OBJECTIVES = {name: {"name": name} for name in OF_CLASSES} | {STAGES: {"name": "ofa", "stages": 2}}
"""Those of classes, and one with what it can do besides."""
STATEFUL = [
    name
    for name, node in OBJECTIVES.items()
    if name == STAGES
    or OF_CLASSES[node["name"]].remembers
    or OF_CLASSES[node["name"]].start is not Objective.start
]
"""Those that something of one client could stay with, for the next on the same actor. That the
others have no memory is a promise of `fedkd check`."""
SETTINGS: dict[str, Any] = {**TINY, "model": MIXED, "fraction": 0.6, "evaluate.every": 2}
METHODS = {"knfu": {"name": "knfu", "beta": 0.5}, "fedmd": {"name": "fedmd", "exchange": "logits"}}


def run(objective: str, method: str, **more: Any) -> Any:
    node = OBJECTIVES[objective]
    labelled = {"transfer.labelled": OF_CLASSES[node["name"]]().needs_labels}
    return simulate(METHODS[method], objective=node, **SETTINGS | labelled | more)


@cache
def ran(objective: str, method: str) -> Any:
    """Make a run in this process, once."""
    return run(objective, method)


def digest(objective: str, method: str) -> str:
    found: str = ran(objective, method).summary["digest"]
    return found


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method", METHODS)
def test_it_teaches_clients_of_two_architectures(objective: str, method: str) -> None:
    result = ran(objective, method)
    assert result.summary["rejected"] == 0
    losses = [row["value"] for row in result.clients.to_pylist() if row["metric"] == "loss_distil"]
    assert len(losses) == 2 * 3
    assert all(1e-4 < loss < 1e3 for loss in losses)
    assert (result.summary["digest"] == digest("kl", method)) == (objective == "kl")


@pytest.mark.parametrize("objective", mostly_slow(OBJECTIVES, "rkd", "ctkd", "tgeo", STAGES))
def test_it_goes_on_from_a_checkpoint(objective: str, tmp_path: Path) -> None:
    more = {"checkpoint.every": 2, "rounds": 4}
    whole = run(objective, "knfu", **more)
    run(objective, "knfu", **more | {"rounds": 2}, run_dir=str(tmp_path / "run"))
    assert resume(tmp_path / "run", rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.fixture(scope="module")
def ray_is_up() -> Iterator[None]:
    with shared_ray(EngineConfig()):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("ray_is_up")
@pytest.mark.parametrize(("objective", "method"), [*zip(STATEFUL, cycle(METHODS), strict=False)])
def test_actors_and_this_process_agree(objective: str, method: str) -> None:
    """Methods by turns: what an objective does with one of them it does with the other."""
    ray = run(objective, method, engine={"name": "ray", "actors": 2})
    assert ray.summary["digest"] == digest(objective, method)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_is_up")
def test_flowers_engine_carries_a_memory() -> None:
    """Those of ctkd and dhkd, and labels: `TOGETHER` in ``engine/test_engines_agree.py``."""
    flower = run(STAGES, "fedmd", engine={"name": "flower", "actors": 1})
    assert flower.summary["digest"] == digest(STAGES, "fedmd")
