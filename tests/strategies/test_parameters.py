"""Parameters without effect are refused; teachers are as soft as is said of them."""

from typing import Any

import pytest
import torch
import yaml
from fedkd.strategies.catalogue import exchange_of
from fedkd.strategies.feddf import FedDF
from fedkd.strategies.fusing import fuse_in_blocks

import fedkd
from fedkd.checking import subject_of
from fedkd.distillation.base import TeacherBatch
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import ON_SAMPLES, KnowledgeStack
from fedkd.plugins import available, parameters
from fedkd.protocol import Strategy

pytestmark = pytest.mark.usefixtures("no_report")

TINY: dict[str, Any] = {
    "clients": 3,
    "rounds": 1,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 40,
    "evaluate.every": 100,
}
STRATEGIES = available("strategies", Strategy)
LOGITS = ("fedmd", "fedet", "fedaux", "fedgems", "dynamic_logits")
OTHERS = ("fd", "fedproto", "fedhkd", "fml", "fedkd_wu", "lg_fedavg", "twin_merging")


@pytest.mark.parametrize("name", [*LOGITS, *OTHERS])
def test_a_temperature_without_soft_labels_is_refused(name: str) -> None:
    words = r"strategy.temperature=3(.0)?: has no effect: .* clients exchange .*; leave it out"
    labelled = {"transfer.labelled": STRATEGIES[name].needs_labels}  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=words):
        fedkd.simulate({"name": name, "temperature": 3}, **TINY | labelled)
    with pytest.raises(ConfigError, match=words):  # and of an object
        fedkd.simulate(STRATEGIES[name](temperature=3.0), **TINY | labelled)  # type: ignore[call-arg]
    fedkd.simulate({"name": name, "temperature": None}, **TINY | labelled)


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
        fedkd.simulate(node, **TINY)


def test_a_method_that_uses_its_temperature_may_have_one() -> None:
    for node in ({"name": "feddf", "temperature": 3}, {"name": "cfd", "temperature": 2, "b_up": 8}):
        assert fedkd.simulate(node, **TINY).summary["rejected"] == 0
    assert parameters(FedDF)["temperature"] == 1.0


@pytest.mark.parametrize(
    ("name", "uploads", "teachers"),
    [("fedavg", 1, 1), ("fedmd", 1, 1), ("knfu", 3, 3), ("ktpfl", 10, 10), ("kafal_soft", 3, 3)],
)
def test_the_spec_says_how_soft_labels_are(name: str, uploads: float, teachers: float) -> None:
    """Attacks on a recorded run read it there, also where the temperature is a method's default."""
    result = fedkd.simulate(name, **TINY | {"distil.temperature": 3})
    spec = yaml.safe_load((result.run_dir / "spec.json").read_text())
    assert spec["softness"] == {"uploads": uploads, "teachers": teachers}


SHARPENED = ("dsfl", "scarlet")
"""What makes a teacher surer than its clients on purpose."""


def fusing() -> list[str]:
    """Return the methods that make a teacher on samples by their pure functions alone."""
    more = ("cfd", "fedet", "fedgems", "dynamic_logits", *SHARPENED)
    kinds = {name: exchange_of(cls())[0] for name, cls in STRATEGIES.items()}
    return [name for name, kind in kinds.items() if kind in ON_SAMPLES and name not in more]


@pytest.mark.parametrize("name", fusing())
def test_clients_that_agree_are_taught_what_they_think(name: str) -> None:
    """Whatever the temperature: as softness is declared, the teacher's logits are the clients'."""
    subject = subject_of(name)
    expected = subject.setting.expect(0, 1, torch.arange(6))
    strategy, logits = STRATEGIES[name](), torch.randn(6, 10)
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
    )
    teacher, _ = fuse_in_blocks(strategy, stack, InlineBlocks())  # type: ignore[arg-type]
    one = teacher.values if teacher.shared else teacher.values[0]
    declared = strategy.teacher_softness(expected.kind, default)
    found = TeacherBatch(one, teacher.kind, declared).probabilities(1.0)
    torch.testing.assert_close(found, logits.softmax(dim=-1), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["cfd", "fedgems"])
def test_a_teacher_that_is_the_servers_model_has_temperature_1(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, make = set(), TeacherBatch.__post_init__

    def watched(self: TeacherBatch) -> None:
        seen.add((self.kind, self.temperature))
        make(self)

    monkeypatch.setattr(TeacherBatch, "__post_init__", watched)
    more = {"distil.temperature": 3, "transfer.labelled": name == "fedgems"}
    fedkd.simulate(name, **TINY | more)
    assert seen == {("soft_labels", 1.0)}
