"""KAFAL with soft labels up and the server's model down."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from fedkd.strategies.kafal import KAFAL
from fedkd.strategies.kafal_student import KAFALStudent, student_loss
from torch import Tensor

from fedkd import ConfigError, RunError, RunResult, simulate
from fedkd.knowledge import Knowledge, KnowledgeStack
from fedkd.models import build
from fedkd.models.flat import flatten
from fedkd.rounds.protocol import RoundPlan

SMALL: dict[str, Any] = {
    "clients": 4,
    "rounds": 4,
    "engine": "inline",
    "data.samples_per_client": 40,
    "data.alpha": 1.0,
    "transfer.size": 60,
    "fit.epochs": 3,
}
CYCLE: dict[str, Any] = {"rounds_per_cycle": 2, "budget": 0.1}


def run(strategy: Any, **settings: Any) -> RunResult:
    return simulate(strategy, **SMALL | settings)


def column(result: RunResult, name: str) -> list[Any]:
    return result.rounds[name].to_pylist()  # type: ignore[no-any-return]


class Recording(KAFAL):
    """Remembers the average of each round."""

    def __init__(self, **kafal: Any) -> None:
        super().__init__(**kafal)
        self.averages: dict[int, Tensor] = {}

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        del admitted
        self.averages[plan.number] = shared[0]
        return shared


class Told(KAFALStudent):
    """A student that is given what it should have learnt."""

    def __init__(self, averages: Mapping[int, Tensor], **kafal: Any) -> None:
        super().__init__(**kafal)
        self.averages = averages

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        del admitted, shared
        return {0: self.averages[plan.number]}


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_a_student_that_is_the_average_makes_it_kafal(fraction: float) -> None:
    """The same models and the same picks: only what goes up differs."""
    recording = Recording(**CYCLE)
    plain = run(recording, fraction=fraction)
    student = run(Told(recording.averages, **CYCLE), fraction=fraction)
    assert column(student, "picks") == column(plain, "picks")
    assert column(student, "alma_global") == column(plain, "alma_global")
    assert column(student, "bytes_down") == column(plain, "bytes_down")
    assert column(student, "bytes_up") != column(plain, "bytes_up")
    for name, value in plain.model(0).state_dict().items():
        assert torch.equal(student.model(0).state_dict()[name], value)


def test_soft_labels_go_up_and_a_model_comes_down() -> None:
    result = run(KAFALStudent(**CYCLE), rounds=2)
    up, down = column(result, "bytes_up"), column(result, "bytes_down")
    labels, model = 4 * 60 * 10, 4 * flatten(build("mlp", (1, 8, 8), 10)).numel()
    assert all(labels < size // 4 < labels + 1000 for size in up)
    assert model < down[1] // 4 < model + 1000
    assert 2 * model < down[0] // 4 < 2 * model + 2000  # also where all start from


def test_it_learns_and_asks() -> None:
    result = run(KAFALStudent(**CYCLE), rounds=4, **{"transfer.size": 300, "fit.epochs": 5})
    assert column(result, "annotated") == [None, None, 16, None]
    assert column(result, "alma_global")[-1] > 0.4
    whole = [row["value"] for row in result.clients.to_pylist() if row["metric"] == "global"]
    assert len(set(whole[-4:])) == 1  # everybody has the server's model


def test_codecs_know_which_way_what_travels() -> None:
    """Soft labels as soft labels, the model as a model: one codec for both must not mix them up."""
    plain = run(KAFALStudent(**CYCLE), rounds=2)
    half = run(KAFALStudent(**CYCLE), rounds=2, compress="float16")
    for name in ("bytes_up", "bytes_down"):
        assert 0.4 < sum(column(half, name)) / sum(column(plain, name)) < 0.7
    top = run(KAFALStudent(**CYCLE), rounds=2, compress={"name": "topk", "k": 2})
    assert column(top, "bytes_down") == column(plain, "bytes_down")  # topk is for soft labels
    assert sum(column(top, "bytes_up")) < sum(column(plain, "bytes_up"))


def test_the_loss_by_hand() -> None:
    consensus, logits = torch.tensor([[0.25, 0.75]]), torch.tensor([[0.0, 2.0]])
    soft = (logits / 2).softmax(dim=-1)
    wanted = 4 * (consensus * (consensus / soft).log()).sum()
    found = student_loss(logits, {"consensus": consensus}, temperature=2.0)
    torch.testing.assert_close(found, wanted)


def test_the_losss_gradient_is_that_of_cross_entropy_at_temperature_one() -> None:
    logits = torch.randn(5, 4, requires_grad=True)
    consensus = torch.randn(5, 4).softmax(dim=-1)
    student_loss(logits, {"consensus": consensus}, temperature=1.0).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, (logits.softmax(dim=-1) - consensus).detach() / 5)


def test_the_consensus_is_that_of_kafal_soft() -> None:
    labels, counts = (
        torch.randn(2, 3, 4).softmax(dim=-1),
        torch.tensor([[1.0, 2, 0, 0], [3, 0, 0, 4]]),
    )
    extras = {"samples": counts.sum(dim=1, keepdim=True), "counts": counts}
    stack = KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(3), extras=extras)
    torch.testing.assert_close(KAFALStudent().fuse(stack), 0.3 * labels[0] + 0.7 * labels[1])
    found = KAFALStudent(aggregation="classes").fuse(stack)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(3))
    assert not torch.allclose(found, KAFALStudent().fuse(stack))


def test_it_needs_one_architecture() -> None:
    with pytest.raises(ConfigError, match="kafal_student shares one model"):
        simulate("kafal_student", **SMALL, model=["mlp", "lenet5"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"server_epochs": -1}, "server_epochs=-1: must be at least 0"),
        ({"server_lr": 0.0}, "server_lr=0.0: must be greater than 0"),
        ({"temperature": 0.0}, "temperature=0.0: must be greater than 0"),
        ({"aggregation": "knfu"}, "aggregation=knfu"),
    ],
)
def test_bad_parameters_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run({"name": "kafal_student", **wrong})


def test_a_student_that_diverges_is_named() -> None:
    with pytest.raises(RunError, match=r"diverged in round 1; try a smaller strategy\.server_lr"):
        run(KAFALStudent(server_lr=1e30, **CYCLE), rounds=1)


def test_without_server_epochs_the_model_stays() -> None:
    result = run(KAFALStudent(server_epochs=0, **CYCLE), rounds=2)
    one, two = column(result, "alma_global")
    assert one == two
