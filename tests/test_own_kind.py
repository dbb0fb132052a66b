"""A plug-in brings a kind of knowledge of its own, from a file, and all of fedkd knows it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Array, ArrayRecord

from fedkd import ConfigError, RunError
from fedkd.config.overrides import compose
from fedkd.knowledge import Kind, KnowledgeStack, Target, kind_named
from fedkd.models.flat import flatten
from fedkd.run.result import RunResult
from fedkd.run.runner import run
from fedkd.rundir.recordings import Recordings

PLUGIN = Path(__file__).parent / "plugins" / "predictions.py"
TINY = ("clients=3", "rounds=2", "data.samples_per_client=20", "transfer.size=300", "seed=1")


def made(name: str, *more: str, engine: str = "inline") -> RunResult:
    """Run a strategy of the plug-in."""
    overrides = [f"strategy={PLUGIN}:{name}", f"engine={engine}", *TINY, *more]
    return run(compose(overrides), report=False)


def test_it_runs_end_to_end_and_is_recorded_by_name(tmp_path: Path) -> None:
    result = made("Mean", "record.knowledge=true", f"run_dir={tmp_path / 'run'}")
    assert result.summary["rejected"] == 0
    last = Recordings(tmp_path / "run").last
    assert (last.kind, tuple(last.values.shape)) == ("expectations", (3, 300))
    clients = result.clients.to_pylist()
    assert {row["client"] for row in clients if row["metric"] == "loss_distil"} == {0, 1, 2}
    files = [tmp_path / "run" / name for name in ("spec.json", "config.yaml")]
    assert not any("Predictions" in file.read_text() for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "flower"])
def test_other_processes_know_it_too(engine: str) -> None:
    more, names = ("engine.actors=2",), ("Mean", "Nearest")
    for name in names if engine == "ray" else names[1:]:
        alone, apart = made(name), made(name, *more, engine=engine)
        assert alone.summary["digest"] == apart.summary["digest"], name


@pytest.mark.parametrize(
    "more", [(), ("fraction=0.67",), ("compress=float16",), ("model=[mlp,lenet5]",)]
)
def test_each_client_may_have_a_teacher_of_its_own(more: tuple[str, ...]) -> None:
    result = made("Nearest", *more)
    assert result.summary["rejected"] == 0
    assert "effective_neighbours" in result.rounds.column_names


def test_behind_masks_the_sum_is_the_same() -> None:
    plain, masked = (made("Mean", *more) for more in ((), ("secure.aggregation=true",)))
    for client in range(3):
        one, two = (flatten(result.model(client)) for result in (plain, masked))
        assert torch.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "more", "problem"),
    [
        ("Mean", ["objective=kl"], r"^objective=kl: learns from soft_labels or logits, .*mse"),
        (
            "Mean",
            ["compress=topk"],
            r"^compress=topk: is for soft_labels or logits, .*expectations",
        ),
        ("Mean", ["attack=lma"], r"^attack=lma: poisons soft_labels or logits, .*expectations"),
        ("Mean", ["privacy=gaussian", "privacy.epsilon=1"], "is for soft_labels or logits"),
        ("Mean", ["strategy.temperature=2"], "clients exchange expectations"),
        ("Unknown", [], "no kind: kind=predictionz must be soft_labels, logits, class_knowledge"),
    ],
)
def test_what_does_not_go_with_it_is_refused_before_the_run(
    name: str, more: list[str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        made(name, *more)


def test_a_kind_whose_teacher_is_for_all_is_not_personalised() -> None:
    with pytest.raises(RunError, match="made a teacher for each client, and one of for_all is for"):
        made("Private")


def test_values_that_are_not_of_the_kind_are_rejected() -> None:
    from fedkd.knowledge.admission import Rejected, check_values

    class Positive(Kind):
        def check(self, values: Any) -> str | None:
            return "sign: below 0" if values.min() < 0 else None

    with pytest.raises(Rejected, match="sign: below 0"):
        check_values(Positive("positive"), -torch.ones(2), (2,))
    check_values(Positive("positive"), torch.ones(2), (2,))


def test_a_kind_is_its_name_and_only_that_is_written_down() -> None:
    own = Kind("mine")
    assert own == "mine"
    assert f"{own}" == "mine"
    assert type(str(own)) is str
    assert kind_named("mine", own) is own
    assert kind_named("logits", own) is kind_named("logits")
    with pytest.raises(ValueError, match="kind=mine must be"):
        kind_named("mine")
    stack = KnowledgeStack(own, torch.zeros(1, 2, 2), [0], torch.arange(2))
    with pytest.raises(AttributeError, match="mine give no class probabilities"):
        _ = stack.soft_labels


def test_a_target_comes_out_of_its_record_as_the_kind_it_is() -> None:
    record = ArrayRecord({"values": Array(torch.ones(3).numpy())})
    assert Target.read(record, Kind("mine")).kind == "mine"
    with pytest.raises(ValueError, match="kind=mine"):
        Target.read(record, "mine")
