"""Parameters without effect are refused; teachers are as soft as is said of them."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fedkd.strategies.feddf import FedDF
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.knfu import KnFu
from fedkd.strategies.mixtures import MixingFusion
from fedkd.strategies.traits import traits
from rich.console import Console
from support import TINY

import fedkd
from fedkd.callbacks.progress import Progress
from fedkd.check.checking import subject_of
from fedkd.config.overrides import compose, merge
from fedkd.distillation.base import Target
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import CLASS_SCORES, KnowledgeStack
from fedkd.plugins import available, parameters
from fedkd.rounds.protocol import Strategy
from fedkd.run.result import RunResult
from fedkd.run.runner import run

SMALL: dict[str, Any] = TINY | {
    "clients": 3,
    "rounds": 1,
    "transfer.size": 40,
    "evaluate.every": 100,
}
STRATEGIES = available("strategies", Strategy)
LOGITS = ("fedmd", "fedet", "fedaux", "fedgems", "dynamic_logits", "fccl", "fccl_plus", "fedhenn")
OTHERS = ("fd", "fedproto", "fedhkd", "fml", "fedkd_wu", "lg_fedavg", "twin_merging")


@pytest.mark.parametrize("name", [*LOGITS, *OTHERS])
def test_a_temperature_without_soft_labels_is_refused(name: str) -> None:
    words = r"strategy.temperature=3(.0)?: has no effect: .* clients exchange .*; leave it out"
    labelled = {"transfer.labelled": STRATEGIES[name].needs_labels}  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=words):
        fedkd.simulate({"name": name, "temperature": 3}, **SMALL | labelled)
    with pytest.raises(ConfigError, match=words):  # and of an object
        fedkd.simulate(STRATEGIES[name](temperature=3.0), **SMALL | labelled)  # type: ignore[call-arg]
    fedkd.simulate({"name": name, "temperature": None}, **SMALL | labelled)


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ({"name": "dsfl", "aggregation": "sa", "era_temperature": 0.5}, "era_temperature=0.5"),
        ({"name": "spectral_filter", "threshold": 0.3, "quantile": 0.7}, "quantile=0.7"),
        ({"name": "fedaux", "delta": 1e-6}, "delta=1e-06"),
        ({"name": "cfd", "temperature": 2}, "temperature=2"),
    ],
)
def test_what_another_parameter_leaves_without_effect_is_refused(node: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^strategy\.{key}: has no effect .*leave (it|one) out"):
        fedkd.simulate(node, **SMALL)


@pytest.mark.parametrize("key", ["fraction_train", "min_train_nodes", "fraction_evaluate"])
def test_what_the_run_decides_is_refused_of_flowers_strategies(key: str) -> None:
    node = {"name": "flwr.serverapp.strategy:FedAvg", key: 0 if "fraction" in key else 1}
    with pytest.raises(ConfigError, match=rf"^strategy.{key}=.*: has no effect: the run .*; use "):
        fedkd.simulate(node, **SMALL)


def test_a_method_that_uses_its_temperature_may_have_one() -> None:
    for node in ({"name": "feddf", "temperature": 3}, {"name": "cfd", "temperature": 2, "b_up": 8}):
        assert fedkd.simulate(node, **SMALL).summary["rejected"] == 0
    assert parameters(FedDF)["temperature"] == 1.0


@pytest.mark.parametrize(
    ("name", "uploads", "teachers"),
    [("fedavg", 1, 1), ("fedmd", 1, 1), ("knfu", 3, 3), ("ktpfl", 10, 10), ("kafal_soft", 3, 3)],
)
def test_the_spec_says_how_soft_labels_are(name: str, uploads: float, teachers: float) -> None:
    """Attacks on a recorded run read it there, also where the temperature is a method's default."""
    result = fedkd.simulate(name, **SMALL | {"distil.temperature": 3})
    spec = yaml.safe_load((result.run_dir / "spec.json").read_text())
    assert spec["softness"] == {"uploads": uploads, "teachers": teachers}


SHARPENED = ("dsfl", "scarlet")
"""What makes a teacher surer than its clients on purpose."""


def fusing() -> list[str]:
    """Return the methods that make a teacher on samples by their pure functions alone."""
    more = ("cfd", "fedet", "fedgems", "dynamic_logits", "staged", *SHARPENED)
    kinds = {name: traits(cls).kind for name, cls in STRATEGIES.items()}
    return [name for name, kind in kinds.items() if kind in CLASS_SCORES and name not in more]


@pytest.mark.parametrize("name", fusing())
def test_clients_that_agree_are_taught_what_they_think(name: str) -> None:
    """Whatever the temperature: as softness is declared, the teacher's logits are the clients'."""
    subject = subject_of(name)
    expected = subject.setting.expect(0, 1, torch.arange(6))
    strategy = STRATEGIES[name]()
    logits = torch.randn(6, 10) + 15 * torch.eye(10)[:6]  # clear enough for selective_fd, too
    default = 3.0
    soft = strategy.softness(expected.kind, default)
    values = (logits / soft).softmax(dim=-1) if expected.kind == "soft_labels" else logits
    stack = KnowledgeStack(
        expected.kind,
        values.expand(3, -1, -1).contiguous(),
        [0, 1, 2],
        torch.arange(6),
        mask=torch.ones(3, 6, dtype=torch.bool) if expected.masked else None,
        scores=torch.ones(3, 6) if expected.scored else None,
        extras={key: torch.ones(3, *shape) for key, shape in expected.extras.items()},
        labels=torch.arange(6),
    )
    teacher, _ = fuse_in_blocks(strategy, stack, InlineBlocks())  # type: ignore[arg-type]
    one = teacher.values if teacher.shared else teacher.values[0]
    declared = strategy.teacher_softness(expected.kind, default)
    found = Target(one, teacher.kind, declared).probabilities(1.0)
    torch.testing.assert_close(found, logits.softmax(dim=-1), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["cfd", "fedgems"])
def test_a_teacher_that_is_the_servers_model_has_temperature_1(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, make = set(), Target.__post_init__

    def watched(self: Target) -> None:
        seen.add((self.kind, self.temperature))
        make(self)

    monkeypatch.setattr(Target, "__post_init__", watched)
    more = {"distil.temperature": 3, "transfer.labelled": name == "fedgems"}
    fedkd.simulate(name, **SMALL | more)
    assert seen == {("soft_labels", 1.0)}


MIXING = {name: cls for name, cls in STRATEGIES.items() if issubclass(cls, MixingFusion)}


def logits_stack(strategy: Any, values: torch.Tensor) -> KnowledgeStack:
    n, samples, _ = values.shape
    scores = torch.rand(n, samples) if "density" in strategy.exchange else None
    about = {"scores": scores, "labels": torch.arange(samples) % values.shape[-1]}
    return KnowledgeStack("logits", values, list(range(n)), torch.arange(samples), **about)


@pytest.mark.parametrize("name", MIXING)
def test_logits_are_mixed_by_the_weights_of_their_soft_labels(name: str) -> None:
    """A constant added to a client's logits changes no soft label: it is mixed, and weighs not."""
    torch.manual_seed(0)
    strategy: Any = MIXING[name](exchange="logits")
    values, shift = torch.randn(4, 5, 3), torch.tensor([8.0, -1.0, 3.0, 0.0])[:, None, None]
    stack = logits_stack(strategy, values)
    one, _ = fuse_in_blocks(strategy, stack, InlineBlocks())
    two, _ = fuse_in_blocks(strategy, replace(stack, values=values + shift), InlineBlocks())
    assert one.kind == "logits"
    spread = (two.values - one.values).std(dim=-1)  # the same for all classes
    torch.testing.assert_close(spread, torch.zeros_like(spread), atol=1e-4, rtol=0)
    assert (two.values - one.values).abs().max() > 0.1


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize(("exchange", "objective"), [("logits", "l1"), ("soft_labels", "kl")])
def test_the_objective_follows_what_is_exchanged(name: str, exchange: str, objective: str) -> None:
    node = {"name": name, "exchange": exchange}
    more = {"transfer.labelled": MIXING[name].needs_labels}
    result = fedkd.simulate(node, **SMALL | {"fraction": 0.7, "model": ["mlp", "lenet5"]} | more)
    config = yaml.safe_load((result.run_dir / "config.yaml").read_text())
    assert config["objective"]["name"] == objective
    assert result.summary["rejected"] == 0


def test_knfu_over_logits_by_hand() -> None:
    """EPDs are those of the softmax; with beta 0 the teacher is FedMD's mean of logits."""
    values = torch.randn(3, 4, 5)
    stack = KnowledgeStack("logits", values, [0, 1, 2], torch.arange(4))
    soft = KnowledgeStack("soft_labels", values.softmax(dim=-1), [0, 1, 2], torch.arange(4))
    torch.testing.assert_close(KnFu(exchange="logits").weights(stack), KnFu().weights(soft))
    teacher, _ = fuse_in_blocks(KnFu(beta=0.0, exchange="logits"), stack, InlineBlocks())
    torch.testing.assert_close(teacher.values[1], values.mean(dim=0))


def log_of(result: RunResult) -> str:
    return (result.run_dir / "log.txt").read_text()


def node_of(result: RunResult) -> dict[str, Any]:
    """Return what a run's exchange was made with."""
    found: dict[str, Any] = json.loads((result.run_dir / "spec.json").read_text())["exchange"]
    return found


@pytest.mark.parametrize("name", ["fedproto", "fedtgp", "fedhkd"])
def test_prototypes_are_as_wide_as_the_models_where_those_agree(name: str) -> None:
    alike = fedkd.simulate(name, **SMALL)
    assert node_of(alike)["dim"] == 200
    assert "prototypes have 200 features, as all models do" in log_of(alike)
    mixed = fedkd.simulate(name, **SMALL | {"model": ["mlp", "lenet5"]})
    assert node_of(mixed)["dim"] == 64
    assert "64 features, as models differ" in log_of(mixed)
    given = fedkd.simulate({"name": name, "dim": 8}, **SMALL)
    assert node_of(given)["dim"] == 8
    assert "prototypes" not in log_of(given)


def test_one_object_settles_anew_for_each_run() -> None:
    strategy: Any = STRATEGIES["fedproto"]()  # type: ignore[call-arg]
    widths = [
        node_of(fedkd.simulate(strategy, **SMALL | {"model": model}))["dim"]
        for model in ("mlp", ["mlp", "lenet5"], "lenet5")
    ]
    assert widths == [200, 64, 84]


@pytest.mark.parametrize("name", ["fedproto", "fedtgp", "fedhkd"])
def test_the_width_survives_a_resume(name: str, tmp_path: Path) -> None:
    settings = SMALL | {"fraction": 0.7}
    whole = fedkd.simulate(name, **settings | {"rounds": 2})
    fedkd.simulate(name, run_dir=str(tmp_path / "run"), **settings)
    resumed = fedkd.resume(tmp_path / "run", rounds=2)
    assert resumed.summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, True),
        ({"transfer.per_round": 40}, True),
        ({"transfer.per_round": 20}, False),
        ({"rounds": 1}, False),
        ({"strategy.duration": 2}, False),
    ],
)
def test_a_teacher_that_freezes_is_told_before_the_run(settings: Any, warned: bool) -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    config = merge(compose(["strategy=scarlet"]), **SMALL | {"rounds": 3} | settings)
    run(config, [progress])
    words = "note: strategy.duration=50 lasts for all 3 rounds, each of which takes the whole"
    assert (words in shown.getvalue()) == warned
    if warned:
        assert shown.getvalue().startswith(words)
