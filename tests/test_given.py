"""Runs made with Python objects say what these were made with, and go on with the same only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fedkd.strategies.fedmd import FedMD
from fedkd.strategies.fedntd import FedNTD
from fedkd.strategies.flower_adapter import FlowerStrategy
from flwr.serverapp.strategy import FedAdagrad
from support import TINY, fedkd
from torch import Tensor

from fedkd import resume, simulate
from fedkd.distillation.dkd import DKD
from fedkd.distillation.guards import Guard
from fedkd.distillation.guards.base import Lesson
from fedkd.distillation.guards.kd3 import KD3
from fedkd.distillation.kl import KL
from fedkd.errors import ConfigError
from fedkd.knowledge import Target
from fedkd.plugins.given import plain, told
from fedkd.report.reader import Run
from fedkd.report.statistics import group_runs

ONE: dict[str, Any] = TINY | {"clients": 3, "rounds": 1, "model": "mlp"}


class Scaled(KL):
    """The KL divergence times something that is no attribute."""

    def __init__(self, by: float = 1.0, **base: Any) -> None:
        super().__init__(**base)
        self._factors = (by,)

    def __call__(self, *given: Any) -> Tensor:
        """Return it."""
        return self._factors[0] * super().__call__(*given)


@dataclass
class Sure(Guard):
    """Learn from teachers that are sure."""

    least: float = 0.1

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return them."""
        return teacher.values, teacher.values.max(dim=-1).values >= self.least


def saved(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((run_dir / "config.yaml").read_text())
    return found


CASES: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "strategy": ("strategy", lambda: FedNTD(tau=2.0), FedNTD, {"name": "FedNTD", "tau": 2.0}),
    "objective": (
        "objective",
        lambda: Scaled(3.0, temperature=2.0),
        lambda: Scaled(temperature=2.0),
        {"name": "Scaled", "by": 3.0, "temperature": 2.0},
    ),
    "guard": ("guard", lambda: KD3(tau=0.4), KD3, {"name": "KD3", "tau": 0.4}),
    "guards": (
        "guard",
        lambda: [Sure(0.2), "kd3"],
        lambda: [Sure(0.3), "kd3"],
        {"name": ["Sure", "kd3"], "Sure": {"least": 0.2}, "kd3": {}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_with_the_same_object_only(case: str, tmp_path: Path) -> None:
    key, make, other, node = CASES[case]
    run_dir = tmp_path / "run"
    simulate(**{"strategy": "fedmd", **ONE, key: make()}, run_dir=str(run_dir))
    assert saved(run_dir)[key] == node
    with pytest.raises(ConfigError, match=f"the configuration differs: {key} was .*force=true"):
        resume(run_dir, rounds=2, **{key: other()})
    done = fedkd("run", f"resume={run_dir}", "rounds=2")
    name = node["name"][0] if case == "guards" else node["name"]
    assert done.exit_code == 2
    again = f"go on from Python: fedkd.resume('{run_dir}', {key}=...)"
    again = f"is no name that there is; if it was a Python object, {again}"
    assert done.stderr.splitlines() == [f"error: {key}={name}: {again}"]
    assert resume(run_dir, rounds=2, **{key: make()}).rounds.num_rows == 2


def test_a_comparison_tells_them_apart(tmp_path: Path) -> None:
    for tau in (1.0, 2.0):
        simulate(FedNTD(tau=tau), **ONE, run_dir=str(tmp_path / str(tau)))
    found = group_runs([Run.load(tmp_path / name) for name in ("1.0", "2.0")])
    assert [group.settings for group in found] == [{"strategy.tau": "1.0"}, {"strategy.tau": "2.0"}]


def test_what_is_no_number_is_told_apart_too() -> None:
    assert told(FlowerStrategy(FedAdagrad(eta=0.2)))["inner"]["eta"] == 0.2
    assert told(FedMD()) == {}
    assert told(DKD(beta=2.0)) == {"beta": 2.0}
    one, other = torch.zeros(3), torch.tensor([0.0, 0.0, 1e-9])
    assert plain(one) == plain(one.clone()) != plain(other)
    assert plain({"at": Path("here"), "by": KD3(tau=0.4)}) == {
        "at": "here",
        "by": {"name": "KD3", "tau": 0.4},
    }
