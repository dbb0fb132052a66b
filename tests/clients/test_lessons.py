"""What a run hands an objective: labels, features and a memory, and only where they are due."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fedkd.strategies.fedmd import FedMD
from support import TINY
from torch import Tensor, nn

from fedkd import ConfigError, RunError, resume, simulate
from fedkd.callbacks import Callback
from fedkd.distillation import Batch, Objective, Target
from fedkd.distillation.guards import Guard
from fedkd.distillation.guards.base import composed
from fedkd.distillation.guards.kd3 import KD3
from fedkd.distillation.kl import KL

HERE = Path(__file__)
VOTES = {"name": "fedmd", "exchange": "soft_labels"}


class Labelled(Objective):
    """Cross-entropy to the labels, and nothing else."""

    per_sample = True
    needs_labels = True

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return it."""
        assert batch is not None
        assert batch.y is not None
        return nn.functional.cross_entropy(student_logits, batch.y)


class Expecting(KL):
    """Refuses labels, features and a memory that nobody declared."""

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the KL divergence."""
        assert batch is not None
        assert batch.y is None
        assert batch.features is None
        return super().__call__(student_logits, teacher, batch)


class Keeping(KL):
    """Keeps a tensor without having said so."""

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Keep the loss."""
        loss = super().__call__(student_logits, teacher, batch)
        self.memory(batch)["loss"] = loss.detach()
        return loss


class Shrinking(KL):
    """Pulls the features of two layers to zero; of the mlp's: its first linear layer's output."""

    layers = ("head", "1")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the KL divergence and the penalty."""
        assert batch is not None
        assert batch.features is not None
        wide, first = (batch.features[name] for name in self.layers)
        assert wide.requires_grad
        assert torch.equal(wide, first.relu())
        return super().__call__(student_logits, teacher, batch) + wide.square().mean()


class Absent(Shrinking):
    """Looks at a layer that no model here has."""

    layers = ("head", "trunk.0")


def run(objective: Any, **more: Any) -> Any:
    name = objective if isinstance(objective, str | dict) else f"{HERE}:{objective.__name__}"
    return simulate(more.pop("strategy", VOTES), objective=name, **TINY | more)


def metric(result: Any, name: str) -> list[float]:
    rows = result.clients.to_pylist()
    return [row["value"] for row in rows if row["metric"] == name]


def test_labels_are_those_of_the_transfer_set() -> None:
    """Enough epochs on them teach what the teacher of untrained clients cannot."""
    more = {"fit.epochs": 0, "distil.epochs": 20, "transfer.size": 200, "evaluate.every": 1}
    taught, plain = (
        run(objective, **more, **{"transfer.labelled": True}) for objective in (Labelled, "kl")
    )
    assert taught.summary["alma_global"]["last"] > 0.8
    assert plain.summary["alma_global"]["last"] < 0.5


@pytest.mark.parametrize(
    "case",
    [
        {"strategy": {"name": "selective_fd"}},
        {"strategy": {"name": "scarlet"}},
        {"transfer.per_round": 40},
    ],
)
def test_labels_belong_to_the_samples_wherever_some_are_left_out(case: dict[str, Any]) -> None:
    more = {"distil.epochs": 10, "distil.lr": 0.1, "rounds": 3, "transfer.size": 150}
    result = run(Labelled, **{"transfer.labelled": True}, **more, **case)
    assert result.summary["rejected"] == 0
    assert result.summary["alma_global"]["last"] > 0.6


def test_without_transfer_labelled_there_are_none() -> None:
    run(Expecting)
    with pytest.raises(ConfigError) as error:
        run(Labelled)
    assert error.value.key == "transfer.labelled"
    assert "Labelled needs the transfer set's labels; set it to true" in str(error.value)
    assert "\n" not in str(error.value)


def test_where_the_objective_has_nothing_to_do_it_needs_nothing_and_a_note_says_so() -> None:
    class Noting(Callback):
        def on_run_start(self, run: Any) -> None:
            noted.extend(run.notes)

    noted: list[str] = []
    run(Labelled, strategy="fedavg", rounds=1, callbacks=[Noting()])
    assert [note for note in noted if "changes nothing: fedavg teaches" in note]
    noted.clear()
    for strategy in (VOTES, "fedavg"):
        simulate(strategy, callbacks=[Noting()], **TINY | {"rounds": 1})
    assert not [note for note in noted if "changes nothing" in note]


def test_layers_are_watched_if_declared() -> None:
    plain, shrunk = run("kl"), run(Shrinking)
    assert plain.summary["digest"] != shrunk.summary["digest"]


def test_a_model_without_the_layer_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        run(Absent)
    assert error.value.key == "model"
    assert error.value.value == "mlp"
    assert "Absent looks at its layer 'trunk.0', and it has no such" in str(error.value)
    run(Absent, strategy="fedavg", rounds=1)  # where the objective has nothing to do


def test_what_is_kept_without_a_word_is_no_silent_loss() -> None:
    with pytest.raises(RunError, match=r"every client failed in train\.distil.*memory; give one"):
        run(Keeping)


def test_side_by_side_labels_go_with_their_client() -> None:
    more = {"transfer.labelled": True, "strategy": {"name": "selective_fd"}, "rounds": 2}
    alone, together = (
        run(Labelled, engine={"name": "inline", "stack": stack}, **more) for stack in ("off", 5)
    )
    for key in ("alma_local", "alma_global"):
        assert together.summary[key]["last"] == pytest.approx(alone.summary[key]["last"], abs=5e-3)
    assert max(metric(together, "stack")) > 1


@pytest.mark.parametrize(
    "objective",
    [
        "ctkd",
        "dhkd",
        "nd",
        {"name": "ofa", "stages": 1, "labels": "teacher"},
        {"name": "taid", "phases": 3},
        Shrinking,
    ],
)
def test_who_cannot_be_side_by_side_distils_alone(objective: Any) -> None:
    more = {"strategy": VOTES, "evaluate.samples": 50, "rounds": 1, "fit.epochs": 0}
    alone, together = (
        run(objective, engine={"name": "inline", "stack": stack}, **more) for stack in ("off", 5)
    )
    assert together.summary["digest"] == alone.summary["digest"]


@pytest.mark.parametrize("objective", ["ctkd", {"name": "taid", "phases": 3}])
def test_a_memory_is_in_checkpoints(objective: Any, tmp_path: Path) -> None:
    more = {"fraction": 0.6, "checkpoint.every": 2, "distil.lr": 0.1}
    whole = run(objective, rounds=4, **more)
    run(objective, rounds=2, run_dir=str(tmp_path / "run"), **more)
    assert resume(tmp_path / "run", rounds=4).summary["digest"] == whole.summary["digest"]
    forgetful = run("kl", rounds=4, **more)
    assert forgetful.summary["digest"] != whole.summary["digest"]


# -- objectives from Python ----------------------------------------------------------------------


class Scaled(KL):
    """The KL divergence times something."""

    def __init__(self, *, by: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        self.by = by

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return it."""
        return self.by * super().__call__(student_logits, teacher)


def test_an_objective_is_a_name_an_object_or_a_class(tmp_path: Path) -> None:
    more = TINY | {"checkpoint.every": 1, "distil.temperature": 2.0}
    by_name = simulate(VOTES, objective={"name": f"{HERE}:Scaled", "by": 3.0}, **more)
    by_class = simulate(VOTES, objective=Scaled, **more, **{"objective.by": 3.0})
    thing = Scaled(by=3.0, temperature=2.0)
    simulate(VOTES, objective=thing, **more | {"rounds": 1}, run_dir=str(tmp_path / "run"))
    resumed = resume(tmp_path / "run", rounds=2, objective=thing)
    plain = simulate(VOTES, **more)
    digests = [one.summary["digest"] for one in (by_name, by_class, resumed, plain)]
    assert digests[0] == digests[1] == digests[2] != digests[3]


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("objective", {"objective": 3}),
        ("objective", {"objective": nn.Linear(1, 1)}),
        ("objective.by", {"objective": Scaled(), "objective.by": 3.0}),
        ("objective.bye", {"objective": Scaled, "objective.bye": 3.0}),
        ("guard.tau", {"guard": [KD3(), "kl_dp"], "guard.tau": 0.2}),
        ("strategy.exchange", {"strategy": FedMD(), "strategy.exchange": "logits"}),
    ],
)
def test_what_would_change_nothing_is_refused(key: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        simulate(**{"strategy": VOTES} | TINY | given)
    assert refused.value.key == key


# -- what cannot be learnt from ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "kept", "told"),
    [
        (lambda loss: loss.expand(3), None, "Wrong returns a tensor [3]"),
        (lambda loss: loss.detach(), None, "Wrong returns a tensor without gradient"),
        (lambda loss: loss.item(), None, "Wrong returns a float"),
        (None, 3, "Wrong's memory['it']=3 is of type int"),
        (None, torch.ones(1, dtype=torch.bfloat16), "use float32"),
        (
            None,
            torch.ones(1).to_sparse(),
            "torch.sparse_coo, which does not travel",
        ),
        (
            None,
            torch.ones(1, requires_grad=True),
            "is no tensor without gradient: keep",
        ),
        (None, nn.Parameter(torch.ones(1), requires_grad=False), "keep its .detach()"),
    ],
)
def test_no_loss_and_no_memory_are_named(returned: Any, kept: Any, told: str) -> None:
    class Wrong(KL):
        remembers = kept is not None

        def __call__(
            self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
        ) -> Tensor:
            loss = super().__call__(student_logits, teacher)
            if kept is not None:
                self.memory(batch)["it"] = kept
            answer: Tensor = returned(loss) if returned else loss
            return answer

    with pytest.raises(RunError) as failed:
        simulate(VOTES, objective=Wrong(), **TINY)
    assert told in str(failed.value)


def test_what_is_kept_has_a_name() -> None:
    class Numbered(KL):
        remembers = True

        def __call__(
            self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
        ) -> Tensor:
            memory: Any = self.memory(batch)
            memory[3] = torch.ones(1)
            return super().__call__(student_logits, teacher)

    with pytest.raises(RunError, match=r"Numbered's memory\[3\] is kept under no name: use a text"):
        simulate(VOTES, objective=Numbered(), **TINY)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            lambda v: (v.double(), v[:, 0] >= 0),
            "float64, and the teacher is torch.float32",
        ),
        (lambda v: (v.long(), v[:, 0] >= 0), "int64, and the teacher is"),
        (lambda v: (v.requires_grad_(), v[:, 0] >= 0), "with a gradient; return values.detach"),
        (lambda v: (2 * v, torch.ones(len(v), dtype=torch.bool)), "that are no soft_labels"),
        (lambda v: (v / 0, torch.ones(len(v), dtype=torch.bool)), "not finite"),
        (lambda v: (v, [True] * len(v)), "no tuple of two tensors"),
        (lambda v: None, "no tuple of two tensors"),
    ],
)
def test_a_guards_answer_is_looked_at(answer: Any, told: str) -> None:
    class Wrong(Guard):
        def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Any:
            return answer(teacher.values)

    with pytest.raises(ValueError, match=told):
        composed([Wrong()], Target(torch.eye(3)), Target(torch.eye(3)))
