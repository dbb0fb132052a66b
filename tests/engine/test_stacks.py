"""Whole runs with clients side by side: the same outcome, on every engine."""

from pathlib import Path
from typing import Any

import pytest

from fedkd import ConfigError, RunResult, simulate
from fedkd.config import EngineConfig
from fedkd.engine import shared_ray
from fedkd.rounds.protocol import Outcome
from fedkd.rounds.tables import phase_seconds

PROBE = Path(__file__).parents[1] / "plugins" / "probe.py"
SHORT = {"clients": 10, "rounds": 2, "data.samples_per_client": 20, "transfer.size": 100}
SMALL = SHORT | {"clients": 6, "evaluate.samples": 50}
pytestmark = pytest.mark.filterwarnings("error:.*performance drop.*")


def run(strategy: str = "knfu", stack: Any = 4, name: str = "inline", **more: Any) -> RunResult:
    actors = {"actors": more.pop("actors")} if "actors" in more else {}
    engine = {"name": name, "stack": stack, **actors}
    return simulate(strategy, engine=engine, **SHORT | more)


def metric(result: RunResult, name: str) -> list[float]:
    return [row["value"] for row in result.clients.to_pylist() if row["metric"] == name]


def same(one: RunResult, two: RunResult) -> None:
    """Accuracies may differ by a sample or two where rounding turns an argmax."""
    for key in ("alma_local", "alma_global"):
        assert one.summary[key]["last"] == pytest.approx(two.summary[key]["last"], abs=5e-3)
    for key in ("rejected", "bytes_down", "bytes_up"):
        assert one.summary[key] == two.summary[key], key


CASES: dict[str, dict[str, Any]] = {
    "knfu": {},
    "fedprox": {"fraction": 0.7},
    "two architectures": {"strategy": "fedmd", "model": ["mlp", "lenet5"]},
    "adam, subsets": {"fit.optimizer": "adam", "fit.lr": 1e-3, "transfer.per_round": 40},
    "ragged": {"data.samples_per_client": None, "data.alpha": 1.0},
    "sinkd": {"objective": "sinkd", "fit.weight_decay": 1e-3},
    "fedproto adds to the loss": {"strategy": "fedproto"},
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_with_stacks_ends_like_one_without(case: str) -> None:
    settings = {"strategy": "fedprox" if case == "fedprox" else "knfu"} | SMALL | CASES[case]
    alone, together = (run(stack=stack, **settings) for stack in ("off", 3))
    same(alone, together)
    assert not metric(alone, "stack")
    assert max(metric(together, "stack")) == (2.0 if "two" in case else 3.0)


def test_who_cannot_be_stacked_ends_to_the_bit_as_alone() -> None:
    """Dropout draws what it would draw alone; predictions are stacked, and teach nobody here."""
    settings = SMALL | {"clients": 4, "rounds": 1, "data.samples_per_client": 8}
    narrow = f"{__file__}:narrow"
    alone, together = (run("local", c, model=narrow, **settings) for c in ("off", 4))
    assert alone.summary["digest"] == together.summary["digest"]
    assert set(metric(together, "stack")) == {1.0}


def narrow(shape: tuple[int, ...], classes: int) -> Any:
    """Return a small model with dropout."""
    from fedkd.models.fedmd import FedMD2

    return FedMD2(shape, classes, channels=(4, 6))


def test_a_client_that_raises_does_not_hurt_its_stack() -> None:
    client = {"name": f"{PROBE}:Faulty", "below": 2}
    alone, together = (run(stack=stack, client=client) for stack in ("off", 4))
    assert together.summary["rejected"] == alone.summary["rejected"] == 4
    assert together.summary["digest"] == alone.summary["digest"]  # a loop of one's own: all alone


def test_simulated_faults_and_attacks_find_the_same_clients() -> None:
    more = {"faults.crash": 0.3, "attack": {"name": "lma", "fraction": 0.3}, "seed": 3}
    alone, together = (run(stack=stack, **more) for stack in ("off", 5))
    same(alone, together)
    assert alone.rounds.column_names == together.rounds.column_names
    assert metric(alone, "hostile") == metric(together, "hostile")
    assert max(metric(together, "stack")) > 1


def test_seconds_of_a_phase_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client's clock stands still while it waits for the others."""
    rounds = []

    def noting(outcome: Outcome) -> dict[str, float]:
        spent = sum(numbers["seconds_phase"] for numbers in outcome.metrics.values())
        rounds.append((spent, outcome.seconds["distil"]))
        return phase_seconds(outcome)

    monkeypatch.setattr("fedkd.rounds.loop.phase_seconds", noting)
    run(stack=10)
    assert len(rounds) == 2
    assert all(0 < spent <= seconds for spent, seconds in rounds)


@pytest.mark.slow
def test_the_digest_depends_neither_on_engine_nor_on_actors() -> None:
    inline = run("fedmd", model="lenet5")
    with shared_ray(EngineConfig()):
        for actors in (1, 2):
            ray = run("fedmd", model="lenet5", name="ray", actors=actors)
            assert ray.summary["digest"] == inline.summary["digest"]
            assert sorted(metric(ray, "stack")) == sorted(metric(inline, "stack"))
    same(inline, run("fedmd", model="lenet5", stack="off"))


@pytest.mark.parametrize("stack", ["all", 0, -3, 1.5])
def test_a_stack_is_auto_off_or_a_number(stack: Any) -> None:
    with pytest.raises(ConfigError, match=r"engine\.stack=.*auto, off or a number of at least 1"):
        run(stack=stack)


def test_flower_hands_out_one_client_at_a_time() -> None:
    with pytest.raises(ConfigError, match=r"engine\.stack=4: engine=flower hands out clients one"):
        run(name="flower")


def test_auto_is_off_on_a_cpu(tmp_path: Path) -> None:
    result = run(stack="auto", device="cpu", run_dir=str(tmp_path / "run"), **SMALL | {"rounds": 1})
    assert not metric(result, "stack")
    assert "stack: 'off'" in (result.run_dir / "config.yaml").read_text()
