"""Clients side by side against the sequential loop: in double precision, to see the maths alone."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from fedkd.clients import Client
from fedkd.clients.architectures import architecture, coupled
from fedkd.clients.jobs import Job, Jobs
from fedkd.clients.memory import footprint
from fedkd.clients.side_by_side import StackLoop, side_by_side
from fedkd.clients.standard import Standard
from fedkd.clients.training import Trainer
from fedkd.experiments.plugins.label_smoothing import Smoothed
from hypothesis import given, settings
from hypothesis import strategies as st
from support import PICTURES
from torch import Tensor, nn

from fedkd.distillation.base import Batch, Objective, Target
from fedkd.distillation.kl import KL
from fedkd.engine.gathering import gathered
from fedkd.knowledge import CLASS_SCORES, kind_named
from fedkd.models import ZOO, build
from fedkd.plugins import available
from fedkd.rng import scoped

# a fallback of vmap that loops over the clients would be right, and slow
pytestmark = pytest.mark.filterwarnings("error:.*performance drop.*")

FIT = {"epochs": 2, "batch_size": 4, "lr": 0.05, "momentum": 0.9, "optimizer": "sgd"}
DISTIL = {"epochs": 2, "batch_size": 6, "lr": 0.02, "temperature": 1.0}
OBJECTIVES = {
    name: cls
    for name, cls in available("distillation", Objective).items()
    if cls.kinds != ("related_logits",)  # looks at features, so it goes alone
}
ALONE = ("taid", "ctkd", "dhkd", "nd", "tgeo")
"""Objectives that serve one client at a time."""
JOINT = ("sinkd", "dist", "mlkd", "rkd", "trg", "cross_correlation", *ALONE)
EQUAL, RAGGED = [7, 7, 7], [5, 9, 2, 6, 9]
COUPLED, RANDOM = ["resnet8"], ["fedmd_cnn2", "fedmd_cnn3"]
"""Batch normalisation couples a batch's samples; dropout is random."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zoo(name: str) -> Callable[[], nn.Module]:
    return lambda: build(name, (1, 8, 8), 10)


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 10))


def clients_of(
    make: Callable[[], nn.Module], sizes: Sequence[int], dtype: torch.dtype = torch.float64
) -> list[Client]:
    clients = []
    for k, n in enumerate(sizes):
        with scoped(k):
            model = make().to(dtype)
        x = torch.randn(n, 1, 8, 8, generator=seeded(k), dtype=dtype)
        y = torch.randint(10, (n,), generator=seeded(k))
        clients.append(Client(k, model, x, y, seeded(100 + k)))
    return clients


def loops(**fit: Any) -> tuple[Standard, StackLoop]:
    loop = Standard(fit=FIT | fit, distil=DISTIL, device="cpu")
    return loop, StackLoop(loop)


def teachers_of(clients: Sequence[Client], samples: int = 15) -> list[Target]:
    values = torch.randn(len(clients), samples, 10, generator=seeded(7), dtype=torch.float64)
    return [Target(one.softmax(dim=-1)) for one in values]


X = torch.randn(15, 1, 8, 8, generator=seeded(8), dtype=torch.float64)

LABELS = torch.arange(20).mul(7).remainder(10)


def gap(one: Sequence[Client], two: Sequence[Client]) -> float:
    """Return the largest difference; the draws must be the same."""
    found = 0.0
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.generator.get_state(), b.generator.get_state())
        states = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
        found = max([found, *((p - q).abs().max().item() for p, q in states)])
    return found


def fits(
    make: Callable[[], nn.Module], sizes: Sequence[int], **fit: Any
) -> tuple[float, list[float]]:
    """Fit side by side and one by one; return the largest difference, and who was with how many."""
    alone, together = loops(**fit)
    one, two = (clients_of(make, sizes) for _ in range(2))
    numbers = [alone.fit([client])[0] for client in one]
    stacks = together.fit(two)
    for mine, theirs in zip(stacks, numbers, strict=True):
        assert mine["loss_fit"] == pytest.approx(theirs["loss_fit"], abs=1e-6)
    return gap(one, two), [numbers["stack"] for numbers in stacks]


class Looking(Objective):
    """Weighs a sample by what it looks like, and by where it stands."""

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the weighted cross-entropy."""
        assert batch is not None
        weights = batch.x.flatten(1).mean(dim=1).exp() + batch.rows
        losses = -(teacher.values * student_logits.log_softmax(dim=-1)).sum(dim=-1)
        return (weights * losses).mean()


@pytest.mark.parametrize("per_sample", [True, False])
def test_an_objective_sees_the_samples_themselves(per_sample: bool) -> None:
    """By hand the weights stand beside the teacher, where rows cannot be mixed up."""

    class Told(Objective):
        def __call__(
            self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
        ) -> Tensor:
            values, weights = teacher.values[:, :-1], teacher.values[:, -1]
            losses = -(values * student_logits.log_softmax(dim=-1)).sum(dim=-1)
            return (weights * losses).mean()

    weights = X.flatten(1).mean(dim=1).exp() + torch.arange(len(X))
    ours = type("Ours", (Looking,), {"per_sample": per_sample})()
    alone, together = loops()
    expected, one, two = (clients_of(small, RAGGED) for _ in range(3))
    teachers = teachers_of(one)
    told = [
        replace(teacher, values=torch.cat([teacher.values, weights[:, None]], dim=1))
        for teacher in teachers
    ]
    alone.distil(expected, X, told, Told())
    alone.distil(one, X, teachers, ours)
    assert gap(expected, one) < 1e-12
    numbers = together.distil(two, X, teachers, ours)
    assert gap(expected, two) < 1e-9
    assert [each["stack"] for each in numbers] == [5.0] * 5


# -- fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet8"])
def test_fit_side_by_side_is_fit_one_by_one(name: str, optimizer: str) -> None:
    rate = {"optimizer": optimizer, "lr": 0.05 if optimizer == "sgd" else 1e-3}
    difference, stack = fits(zoo(name), EQUAL, **rate, weight_decay=0.01)
    assert difference < 1e-9
    assert stack == [3.0] * 3
    difference, stack = fits(zoo(name), RAGGED, **rate, weight_decay=0.01)
    assert difference < 1e-9
    # of equal size are the second and the last
    assert stack == ([1.0, 2.0, 1.0, 1.0, 2.0] if name in COUPLED else [5.0] * 5)


@pytest.mark.parametrize("name", sorted(set(PICTURES) - set(RANDOM)))
def test_in_single_precision_the_difference_is_rounding(name: str) -> None:
    alone, together = loops()
    one, two = (clients_of(zoo(name), EQUAL, torch.float32) for _ in range(2))
    for client in one:
        alone.fit([client])
    together.fit(two)
    assert gap(one, two) < 1e-5


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=6),
    st.integers(1, 9),
    st.integers(0, 3),
    st.sampled_from(["sgd", "adam"]),
)
@settings(max_examples=40, deadline=None)
def test_nobody_notices_how_many_samples_others_have(
    sizes: list[int], batch: int, epochs: int, optimizer: str
) -> None:
    fit = {"batch_size": batch, "epochs": epochs, "optimizer": optimizer, "weight_decay": 0.1}
    difference, stack = fits(small, sizes, **fit)
    assert difference < 1e-9
    assert stack == [float(len(sizes))] * len(sizes)


@pytest.mark.parametrize("name", RANDOM)
def test_models_with_dropout_train_alone(name: str) -> None:
    def make() -> nn.Module:
        return ZOO[name]((1, 8, 8), 10, channels=(4, 6, 8)[: int(name[-1])])

    assert coupled(make(), X[:1].float()) is None
    _, together = loops()
    assert [numbers["stack"] for numbers in together.fit(clients_of(make, EQUAL))] == [1.0] * 3


def test_proximal_term_and_prior() -> None:
    alone, together = loops()
    groups = []
    for _ in range(2):
        clients = clients_of(small, RAGGED)
        for k, client in enumerate(clients):
            client.options = {"proximal-mu": 0.5 * k}
            client.log_prior = torch.randn(10, generator=seeded(k))
        groups.append(clients)
    for client in groups[0]:
        alone.fit([client])
    stack = [numbers["stack"] for numbers in together.fit(groups[1])]
    assert gap(*groups) < 1e-9
    assert stack == [1.0, 4.0, 4.0, 4.0, 4.0]  # the first is not pulled at all
    plain = clients_of(small, RAGGED)
    alone.fit([plain[1]])
    assert gap(plain[1:2], groups[1][1:2]) > 1e-3, "both matter"


ADDED: dict[str, Callable[[], dict[str, Any]]] = {
    "loss": lambda: {"extra_loss": lambda logits, labels: logits.square().mean()},
    "optimiser": lambda: {"carried": {}},
    "schedule": lambda: {"schedule": lambda epoch: 0.5},
    "clip": lambda: {"clip": 0.1},
}


@pytest.mark.parametrize("what", ADDED)
def test_what_a_method_adds_is_fitted_alone(what: str) -> None:
    alone, together = loops()
    one, two = (
        [replace(client, **ADDED[what]()) for client in clients_of(small, EQUAL)] for _ in range(2)
    )
    for client in one:
        alone.fit([client])
    assert [numbers["stack"] for numbers in together.fit(two)] == [1.0] * 3
    assert gap(one, two) == 0.0


def test_augmented_batches_are_fitted_alone() -> None:
    assert fits(small, EQUAL, augment=True) == (0.0, [1.0] * 3)


def test_somebodys_own_loop_is_left_to_itself() -> None:
    mine = Smoothed(fit=FIT, distil=DISTIL, device="cpu", smoothing=0.1)
    assert side_by_side(mine, None) is mine


# -- distil and predict --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet8"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_distil_side_by_side_is_distil_one_by_one(objective: str, name: str) -> None:
    alone, together = loops()
    one, two = (clients_of(zoo(name), EQUAL) for _ in range(2))
    teachers, loss = teachers_of(one), OBJECTIVES[objective](temperature=2.0)
    if loss.needs_labels:
        teachers = [
            replace(teacher, labels=LABELS[place:]) for place, teacher in enumerate(teachers)
        ]
    numbers = alone.distil(one, X, teachers, loss)
    stacks = together.distil(two, X, teachers, loss)
    assert gap(one, two) < 1e-9
    for mine, theirs in zip(stacks, numbers, strict=True):
        assert mine["loss_distil"] == pytest.approx(theirs["loss_distil"], abs=1e-5)
        assert mine["stack"] == (1.0 if objective in ALONE else 3.0)


def test_what_looks_at_layers_of_some_models_goes_alone() -> None:
    class Searching(KL):
        def looks_at(self, student: nn.Module) -> tuple[str, ...]:
            return ("1",) if "1" in dict(student.named_children()) else ()

        def __call__(
            self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
        ) -> Tensor:
            assert batch is not None
            assert batch.features is not None
            return super().__call__(student_logits, teacher) + batch.features["1"].square().mean()

    _, together = loops()
    clients = clients_of(small, EQUAL)
    numbers = together.distil(clients, X, teachers_of(clients), Searching())
    assert [each["stack"] for each in numbers] == [1.0] * 3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_that_may_be_padded_is_a_mean_over_samples(objective: str) -> None:
    loss = OBJECTIVES[objective](temperature=2.0)
    assert loss.per_sample == (objective not in JOINT)
    if not loss.per_sample:
        return
    logits = torch.randn(6, 10, generator=seeded(1), dtype=torch.float64)
    for kind in loss.kinds or CLASS_SCORES:
        noise = torch.randn(6, 10, generator=seeded(2), dtype=torch.float64)
        values = kind_named(kind).drawn(noise)
        rows = zip(logits.split(1), values.split(1), strict=True)
        batches = [Batch(X[i : i + 1], torch.tensor([i]), LABELS[i : i + 1]) for i in range(6)]
        pairs = zip(rows, batches, strict=True)
        each = torch.stack([loss(z, Target(v, kind), batch) for (z, v), batch in pairs])
        whole = loss(logits, Target(values, kind), Batch(X[:6], torch.arange(6), LABELS[:6]))
        assert torch.allclose(whole, each.mean())


def test_clients_learn_from_as_many_samples_as_each_has() -> None:
    """Masked lessons differ in length, so each client has its own call and its own samples."""
    alone, together = loops()
    one, two = (clients_of(small, EQUAL) for _ in range(2))
    teachers = teachers_of(one)
    lengths, objective = (15, 4, 9), KL(temperature=2.0)

    def learn(loop: Any, clients: list[Client]) -> list[dict[str, float]]:
        calls = []
        for client, teacher, n in zip(clients, teachers, lengths, strict=True):
            lesson = Target(teacher.values[:n])
            calls.append(lambda c=client, t=lesson, n=n: loop.distil([c], X[:n], [t], objective)[0])
        return gathered(calls)

    learn(alone, one)
    assert [numbers["stack"] for numbers in learn(together, two)] == [3.0] * 3
    assert gap(one, two) < 1e-9


@pytest.mark.parametrize("name", PICTURES)
def test_predict_side_by_side_is_predict_one_by_one(name: str) -> None:
    alone, together = loops()
    clients = clients_of(zoo(name), EQUAL)
    samples = 515 if name == "mlp" else 9  # two parts, or one
    x = torch.randn(samples, 1, 8, 8, generator=seeded(9), dtype=torch.float64)
    for mine, theirs in zip(together.predict(clients, x), alone.predict(clients, x), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not together.jobs.refused


def test_clients_predict_their_own_samples() -> None:
    alone, together = loops()
    clients = clients_of(small, RAGGED)
    calls = [lambda c=c: together.predict([c], c.x)[0] for c in clients]
    for client, logits in zip(clients, gathered(calls), strict=True):
        torch.testing.assert_close(logits, alone.predict([client], client.x)[0])


# -- which models go together --------------------------------------------------------------------


class Scaled(nn.Module):
    """Has a number that no parameter and no repr shows."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.layer = factor, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.factor * self.layer(x.flatten(1))


class Choosy(Scaled):
    """Does what cannot be vectorised."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return super().forward(x if x.sum() > 0 else -x)


def test_models_that_differ_in_any_number_are_strangers() -> None:
    assert architecture(Scaled(1.0)) == architecture(Scaled(1.0))
    assert architecture(Scaled(1.0)) != architecture(Scaled(2.0))
    assert architecture(zoo("mlp")()) != architecture(build("mlp", (1, 8, 8), 9))
    hooked = Scaled(1.0)
    hooked.register_forward_hook(lambda *args: None)
    assert architecture(hooked) != architecture(Scaled(1.0))
    factors = iter([1.0, 2.0, 1.0] * 2)
    assert fits(lambda: Scaled(next(factors)), EQUAL)[1] == [2.0, 1.0, 2.0]


def test_a_model_that_cannot_be_vectorised_trains_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedkd"):
        assert fits(lambda: Choosy(1.0), EQUAL) == (0.0, [1.0] * 3)
    assert "clients go one by one (fit)" in caplog.text


def test_one_client_that_fails_does_not_hurt_the_others() -> None:
    alone, together = loops()
    one, two = (clients_of(small, EQUAL) for _ in range(2))
    two[1].y[3] = 10  # there is no such class

    def fit(client: Client) -> Any:
        try:
            return together.fit([client])[0]["stack"]
        except IndexError as error:
            return str(error)

    found = gathered([lambda c=c: fit(c) for c in two])
    assert found[::2] == [1.0, 1.0]
    assert "out of bounds" in found[1]
    for place in (0, 2):
        alone.fit([one[place]])
        assert gap([one[place]], [two[place]]) == 0.0


# -- memory --------------------------------------------------------------------------------------


def test_out_of_memory_halves_the_stack(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train = Trainer.train

    def small_gpu(self: Trainer) -> list[float]:
        if len(self.batches) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return train(self)

    monkeypatch.setattr(Trainer, "train", small_gpu)
    alone, together = loops()
    one, two = (clients_of(small, [5, 9] * 5) for _ in range(2))
    for client in one:
        alone.fit([client])
    with caplog.at_level(logging.WARNING, "fedkd"):
        stack = [numbers["stack"] for numbers in together.fit(two)]
    assert gap(one, two) < 1e-9, "what was drawn in vain is drawn again"
    assert stack == [2.0] * 10
    assert "out of memory with 10 clients side by side (fit); going on with 5" in caplog.text
    assert "out of memory with 5 clients side by side (fit); going on with 2" in caplog.text
    caplog.clear()
    together.fit(two)
    assert not caplog.text, "it knows by now"


def test_out_of_memory_to_the_end_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu(self: Trainer) -> list[float]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "train", no_gpu)
    assert fits(small, EQUAL) == (0.0, [1.0] * 3)


@pytest.mark.parametrize(("memory", "sizes"), [(35, [3, 3, 1]), (5, [1] * 7), (999, [7])])
def test_as_many_as_fit_into_memory(memory: int, sizes: list[int]) -> None:
    seen = []

    def together(items: list[int]) -> list[int]:
        seen.append(len(items))
        return items

    def job(k: int) -> Job:
        return Job(("fit", 0), 0, k, lambda: seen.append(1) or -1, together, k, lambda: 4 + k)

    jobs = [job(k) for k in range(7)]  # the largest takes 10
    Jobs(lambda: memory).answers(jobs)
    assert sorted(seen, reverse=True) == sizes


def test_a_footprint_grows_with_model_data_and_batch() -> None:
    x = torch.zeros(50, 1, 8, 8)
    base = footprint(zoo("mlp")(), x, 8)
    assert footprint(zoo("lenet5")(), x, 8) != base
    assert footprint(zoo("mlp")(), x[:25], 8) == base - 25 * 64 * 4
    assert footprint(zoo("mlp")(), x, 9) == base + 3 * 4 * (64 + 200 + 200 + 10)
