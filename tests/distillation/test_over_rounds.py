"""Temperature and weight over rounds, in whole runs."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
import yaml
from fedkd.clients import Parts
from fedkd.strategies.knfu import KnFu
from support import MIXED, TINY, mostly_slow

from fedkd import resume, simulate
from fedkd.config import RunConfig
from fedkd.distillation import Objective
from fedkd.distillation.base import Batch, Matching
from fedkd.distillation.weighing import Weighted
from fedkd.errors import ConfigError
from fedkd.knowledge import Target
from fedkd.leakage.subject import Subject
from fedkd.plugins.table import SEAMS
from fedkd.run.resolving import spec_of

WARM = {"name": "linear", "start": 4, "end": 1}
SETTINGS: dict[str, Any] = {**TINY, "model": MIXED, "fraction": 0.6, "evaluate.every": 100}


def run(strategy: Any = "knfu", **more: Any) -> Any:
    return simulate(strategy, **SETTINGS | more)


def digest(**more: Any) -> str:
    found: str = run(**more).summary["digest"]
    return found


def config_of(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((result.run_dir / "config.yaml").read_text())
    return found


def test_a_schedule_that_stands_still_is_its_number() -> None:
    still = {"name": "cosine", "start": 2, "end": 2}
    assert digest(**{"distil.temperature": still}) == digest(**{"distil.temperature": 2})
    assert digest(**{"distil.weight": still | {"start": 1, "end": 1}}) == digest()


def test_each_round_has_its_own_and_a_resume_goes_on(tmp_path: Path) -> None:
    """Round 1 is that of a run at 4, round 2 that of one which goes on from there at 1."""
    whole = run(**{"distil.temperature": WARM, "distil.weight": WARM})
    table = whole.rounds.to_pydict()
    assert table["distil_temperature"] == table["distil_weight"] == [4.0, 1.0]
    fixed = {"distil.temperature": 4, "distil.weight": 4}
    run(**fixed, rounds=1, run_dir=str(tmp_path / "fixed"))
    other = {"distil.temperature": 1, "distil.weight": 1, "objective.temperature": 1}
    forced = resume(tmp_path / "fixed", rounds=2, force=True, **other)
    assert forced.summary["digest"] == whole.summary["digest"] != digest(**fixed)

    more = {"distil.temperature": WARM | {"rounds": 2}, "distil.weight": WARM | {"rounds": 2}}
    longer = run(**more, rounds=4)
    assert longer.rounds.to_pydict()["distil_temperature"] == [4.0, 1.0, 1.0, 1.0]
    gone_on = resume(whole.run_dir, rounds=4)
    assert gone_on.summary["digest"] == longer.summary["digest"]
    assert config_of(gone_on)["distil"]["temperature"] == WARM | {"rounds": 2}
    with pytest.raises(ConfigError, match=r"distil.temperature was .*\"rounds\":2.*, is "):
        resume(whole.run_dir, rounds=5, **{"distil.temperature.rounds": 5})


def parts_of(objective: dict[str, Any], **distil: Any) -> Parts:
    spec = spec_of(RunConfig(), KnFu())

    return Parts.from_spec(
        spec
        | {
            "task": {"name": "classification"},
            "clients": 1,
            "objective": objective,
            "distil": spec["distil"] | distil,
        }
    )


@pytest.mark.parametrize("name", ["kl", "nd", "rkd", "trg", "sinkd", "mlkd"])
def test_an_objective_is_made_with_the_rounds_temperature(name: str) -> None:
    """Also the parts that it is made of."""
    torch.manual_seed(0)
    student, soft = torch.randn(4, 3), torch.randn(4, 3).softmax(dim=-1)
    features = {"head": torch.randn(4, 5)}
    labels = torch.tensor([0, 1, 2, 0])

    def loss(objective: Objective) -> torch.Tensor:
        batch = Batch(student, torch.arange(4), labels, features, {})
        return objective(student, Target(soft, labels=labels), batch)

    parts = parts_of({"name": name}, temperature=WARM | {"rounds": 4})
    cls: Any = SEAMS["objectives"].resolve(name)
    for number, temperature in ((1, 4.0), (2, 3.0), (4, 1.0), (9, 1.0)):
        torch.testing.assert_close(
            loss(parts.objective_at(number)), loss(cls(temperature=temperature)), rtol=0, atol=0
        )
    assert loss(parts.objective_at(1)) != loss(parts.objective_at(4))
    fixed = parts_of({"name": name, "temperature": 2.0}, temperature=WARM | {"rounds": 4})
    assert fixed.objective_at(1).temperature == fixed.objective_at(4).temperature == 2.0


class Probe(Matching):
    """Differs from `Objective` in everything that a loop may ask of one."""

    per_sample, kinds, needs_labels, layers = True, None, True, ("x",)
    remembers, most_rows, one_row, tells_apart = True, 7, True, 3
    fewest, trained_with = 3, MappingProxyType({"lr": 0.7})

    def __init__(self) -> None:
        super().__init__(temperature=3.0)
        self.heard: list[Any] = []

    def start(self, student: Any) -> None:
        self.heard.append(student)

    def progress(self, fraction: float) -> None:
        self.heard.append(fraction)

    def looks_at(self, student: Any) -> tuple[str, ...]:
        return ("y",)


def test_a_weighted_objective_is_the_same_in_all_else() -> None:
    probe = Probe()
    weighted = Weighted(probe, 0.5)
    asked = {name for name in vars(Objective) if not name.startswith("_")}
    asked -= {"memory", "features"}  # which it asks itself
    for name in asked:
        own, found = getattr(probe, name), getattr(weighted, name)
        if not callable(own):
            assert found == own != getattr(Objective, name), name
    weighted.start(torch.nn.Flatten())
    weighted.progress(0.25)
    assert len(probe.heard) == 2
    assert weighted.looks_at(torch.nn.Flatten()) == ("y",)
    assert [weighted.tempers(kind) for kind in ("soft_labels", "logits")] == [True, False]
    methods = {name for name in asked if callable(getattr(Objective, name))}
    assert methods <= {*vars(Weighted)}


def test_a_weight_is_a_factor_of_the_step() -> None:
    """Plain SGD: twice the loss is twice the rate; nothing of it is nothing learnt."""
    fine = {"model": "mlp", "rounds": 1}
    twice, faster = (
        run(**fine, **more).model(0).state_dict()
        for more in ({"distil.weight": 2}, {"distil.lr": 2 * 0.05})
    )
    for name, value in twice.items():
        torch.testing.assert_close(value, faster[name], rtol=1e-4, atol=1e-6)
    assert digest(**fine, **{"distil.weight": 0}) == digest(**fine, **{"distil.epochs": 0})
    assert digest(**fine, **{"distil.weight": 2}) != digest(**fine)


@pytest.mark.parametrize("objective", mostly_slow(["kl", "taid", "ctkd"], "taid"))
def test_objectives_with_a_state_are_weighted(objective: str) -> None:
    mean = {"name": "fedmd", "exchange": "soft_labels"}
    late = {"distil.weight": {"name": "step", "start": 0, "end": 2}}
    result = run(mean, objective=objective, **late)
    assert result.summary["rejected"] == 0
    found = result.clients.to_pylist()
    losses = {row["round"]: row["value"] for row in found if row["metric"] == "loss_distil"}
    assert losses[1] == 0 < losses[2]


def test_clients_side_by_side_are_weighted_and_tempered_alike() -> None:
    more = {"distil.temperature": WARM, "distil.weight": WARM, "model": "mlp", "fraction": 1.0}
    alone = run(**more).clients.to_pylist()
    stacked = run(**more, engine={"name": "inline", "stack": 5}).clients.to_pylist()

    def numbers(rows: Any, metric: str) -> list[float]:
        return [row["value"] for row in rows if row["metric"] == metric]

    assert set(numbers(stacked, "stack")) == {5.0}
    losses = numbers(alone, "loss_distil")
    assert numbers(stacked, "loss_distil") == pytest.approx(losses, rel=1e-3, abs=1e-5)


def test_attacks_know_each_rounds_temperature() -> None:
    more = {"record.knowledge": True, "distil.temperature": WARM, "rounds": 3}
    result = run(**more)
    subject = Subject(result.run_dir)
    for what in ("uploads", "teachers"):
        assert [subject.softness(what, number) for number in (1, 2, 3)] == [4.0, 2.5, 1.0]
    assert subject.parts.objective_at(2).temperature == 2.5


@pytest.mark.parametrize(
    ("strategy", "more", "words"),
    [
        ("local", {}, "with local clients learn from no teacher"),
        ("fedavg", {"model": "mlp"}, "with fedavg clients learn from no teacher"),
        ("fedmd", {}, "objective l1 takes no notice of it with a teacher of logits"),
        ("dafkd", {}, "objective kl has a temperature of its own"),
        ("fedmd", {"objective": {"name": "kl", "temperature": 2}}, "has a temperature of its own"),
        ("scarlet", {}, "keeps soft labels for later rounds, .*; give one number"),
    ],
)
def test_a_temperature_over_rounds_without_effect_is_refused(
    strategy: str, more: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^distil\.temperature=.*{words}"):
        run(strategy, **more, **{"distil.temperature": WARM})


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("fedmd", {"objective": "kl"}),
        ("scarlet", {"strategy": {"name": "scarlet", "duration": 1}}),
        ("knfu", {"objective": {"name": "kl", "temperature": 2}}),  # of the uploads
        ("kafal_soft", {"model": "mlp"}),
        ("cfd", {}),
    ],
)
def test_methods_that_heed_it_may_have_one(strategy: str, more: Any) -> None:
    node = more.pop("strategy", strategy)
    result = run(node, **more, **{"distil.temperature": WARM})
    assert result.summary["rejected"] == 0
    still = run(node, **more, **{"distil.temperature": 1})
    assert still.summary["digest"] != result.summary["digest"]


@pytest.mark.parametrize(
    ("strategy", "more", "words"),
    [
        ("fedavg", {"model": "mlp"}, "with fedavg clients learn from no teacher"),
        ("fedproto", {}, "with fedproto clients learn from no teacher"),
        (
            "knfu",
            {"fit.optimizer": "adam"},
            "adam's steps are the same .*; use distil.optimizer=sgd, or",
        ),
        ("knfu", {"distil.optimizer": "adam"}, "adam's steps are the same"),
        ("fccl", {}, "adam's steps are the same"),
    ],
)
def test_a_weight_without_effect_is_refused(strategy: str, more: Any, words: str) -> None:
    for weight in (2, WARM):
        with pytest.raises(ConfigError, match=rf"^distil\.weight=.*: has no effect: {words}"):
            run(strategy, **more, **{"distil.weight": weight})
    run("knfu", **{"fit.optimizer": "adam", "distil.weight": 0}, rounds=1)
