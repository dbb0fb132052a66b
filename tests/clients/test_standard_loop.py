"""The default client loop against torch written out by hand."""

import copy
from typing import Any

import pytest
import torch
from fedkd.clients import Client, ClientLoop
from fedkd.clients.exchange import SoftLabels
from fedkd.clients.exchange.logits import Logits
from fedkd.clients.optimisers import OPTIMIZERS
from fedkd.clients.passes import PREDICT_BATCH
from fedkd.clients.privacy.dp_sgd import DPSGD
from fedkd.clients.side_by_side import StackLoop
from fedkd.clients.standard import Standard, batches, proximal_term
from fedkd.experiments.plugins.label_smoothing import Smoothed
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fedkd.distillation.base import Objective, Target
from fedkd.distillation.kl import KL

FIT = {"epochs": 2, "batch_size": 4, "lr": 0.1, "momentum": 0.9, "optimizer": "sgd"}
DISTIL = {"epochs": 1, "batch_size": 4, "lr": None, "temperature": 1.0}


def loop_of(
    cls: type[Standard] = Standard, fit: Any = (), distil: Any = (), **more: Any
) -> Standard:
    return cls(fit=FIT | dict(fit), distil=DISTIL | dict(distil), device="cpu", **more)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(seed: int = 0, *layers: nn.Module) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), *layers, nn.Linear(5, 4))
    with torch.no_grad():
        generator = seeded(seed)
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return model


def client_of(model: nn.Module | None = None, n: int = 10, seed: int = 1, **options: Any) -> Client:
    generator = seeded(seed)
    x, y = torch.randn(n, 3, generator=generator), torch.randint(4, (n,), generator=generator)
    return Client(0, model or model_of(), x, y, seeded(99), options=options)


def same_model(one: nn.Module, two: nn.Module, atol: float = 1e-6) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, two.state_dict()[name], atol=atol, rtol=0)


@pytest.mark.parametrize("kind", ["standard", "stack", "private"])
def test_a_client_may_have_epochs_of_its_own(kind: str) -> None:
    """So that a method can divide a fit: what it says counts, not ``fit.epochs``."""

    def fitted(epochs: int, own: int | None) -> nn.Module:
        loop: ClientLoop = loop_of(fit={"epochs": epochs})
        if kind == "private":
            loop = DPSGD(clip=1.0, noise_multiplier=1.0).loop(loop)
        one = client_of()
        one.epochs = own
        (StackLoop(loop) if isinstance(loop, Standard) and kind == "stack" else loop).fit([one])
        return one.model

    same_model(fitted(2, 5), fitted(5, None), atol=0)
    same_model(fitted(2, 0), model_of(), atol=0)


# -- batches -------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 64), st.integers(0, 999))
def test_an_epoch_is_every_row_once(samples: int, size: int, seed: int) -> None:
    parts = batches(samples, size, seeded(seed))
    rows = torch.cat(parts)
    assert sorted(rows.tolist()) == list(range(samples))
    lengths = [len(part) for part in parts]
    assert all(length == size for length in lengths[:-1])
    assert lengths[-1] <= size + 1
    if samples > 1 and size > 1:
        assert min(lengths) > 1, "BatchNorm cannot train on one"
    assert torch.equal(rows, torch.randperm(samples, generator=seeded(seed)))


def test_epochs_differ_and_are_reproducible() -> None:
    generator = seeded(5)
    first, second = (torch.cat(batches(50, 8, generator)) for _ in range(2))
    assert not torch.equal(first, second)
    again = seeded(5)
    assert torch.equal(torch.cat(batches(50, 8, again)), first)
    assert torch.equal(torch.cat(batches(50, 8, again)), second)


# -- fit -----------------------------------------------------------------------------------------


def test_one_sgd_step_by_hand() -> None:
    """Softmax regression: the gradient is (p - onehot) x / n, written out."""
    model = nn.Linear(3, 4)
    client = client_of(model, n=4)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    p = (client.x @ weight.T + bias).softmax(dim=1)
    wrong = (p - F.one_hot(client.y, 4)) / 4
    loss = -p[torch.arange(4), client.y].log().mean().item()
    numbers = loop_of(fit={"epochs": 1}).fit([client])
    torch.testing.assert_close(model.weight.detach(), weight - 0.1 * wrong.T @ client.x)
    torch.testing.assert_close(model.bias.detach(), bias - 0.1 * wrong.sum(dim=0))
    assert numbers == [{"loss_fit": pytest.approx(loss, abs=1e-6)}]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_fit_is_the_plain_torch_loop(optimizer: str) -> None:
    client, model, losses = client_of(), model_of(), []
    numbers = loop_of(fit={"optimizer": optimizer}).fit([client])[0]
    step = (
        torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        if optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), 0.1)
    )
    generator = seeded(99)
    for _ in range(2):
        order = torch.randperm(10, generator=generator)
        for rows in (order[:4], order[4:8], order[8:]):
            step.zero_grad()
            loss = F.cross_entropy(model(client.x[rows]), client.y[rows])
            loss.backward()
            step.step()
            losses.append(loss.item())
    same_model(client.model, model)
    assert numbers["loss_fit"] == pytest.approx(sum(losses) / 6, abs=1e-6)


def test_each_phase_has_a_fresh_optimiser() -> None:
    """Two phases are two fresh loops, not one long one: momentum does not survive."""
    client = client_of()
    loop = loop_of(fit={"epochs": 1, "batch_size": 10})
    loop.fit([client])
    loop.fit([client])
    model = model_of()
    for _ in range(2):
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        optimizer.zero_grad()
        F.cross_entropy(model(client.x), client.y).backward()
        optimizer.step()
    same_model(client.model, model)
    longer = client_of()
    loop_of(fit={"epochs": 2, "batch_size": 10}).fit([longer])
    assert not torch.allclose(next(longer.model.parameters()), next(model.parameters()))


def test_clients_are_trained_apart() -> None:
    together = [client_of(model_of(k), seed=k) for k in range(3)]
    numbers = loop_of().fit(together)
    for k in range(3):
        alone = client_of(model_of(k), seed=k)
        assert loop_of().fit([alone]) == [numbers[k]]
        same_model(alone.model, together[k].model, atol=0)


def test_no_epochs_no_change() -> None:
    client = client_of()
    assert loop_of(fit={"epochs": 0}).fit([client]) == [{"loss_fit": 0.0}]
    same_model(client.model, model_of(), atol=0)


def test_the_optimisers_offered_are_those_the_configuration_allows() -> None:
    from fedkd.config import RunConfig
    from fedkd.errors import ConfigError

    for name in OPTIMIZERS:
        config = RunConfig()
        config.fit.optimizer = name
        config.check()
    config.fit.optimizer = "lion"
    with pytest.raises(ConfigError, match=r"fit\.optimizer=lion"):
        config.check()


# -- FedProx -------------------------------------------------------------------------------------


def test_the_proximal_term_and_its_gradient() -> None:
    model = model_of()
    penalty = proximal_term(model, 0.3)
    assert torch.as_tensor(penalty()).item() == 0.0
    start = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=seeded(3)))
    pairs = list(zip(model.parameters(), start, strict=True))
    expected = 0.15 * sum(((now - then) ** 2).sum().item() for now, then in pairs)
    value = penalty()
    assert isinstance(value, Tensor)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    value.backward()
    for now, then in pairs:
        assert now.grad is not None
        torch.testing.assert_close(now.grad, 0.3 * (now.detach() - then))


def test_mu_0_adds_nothing() -> None:
    assert proximal_term(model_of(), 0.0)() == 0.0
    with_mu, without = client_of(**{"proximal-mu": 0.0}), client_of()
    assert loop_of().fit([with_mu]) == loop_of().fit([without])
    same_model(with_mu.model, without.model, atol=0)


def test_fit_with_a_proximal_term_by_hand() -> None:
    client, model = client_of(**{"proximal-mu": 0.5}), model_of()
    loop_of(fit={"batch_size": 10, "momentum": 0.0, "epochs": 3}).fit([client])
    start = copy.deepcopy(model)
    for _ in range(3):
        model.zero_grad()
        F.cross_entropy(model(client.x), client.y).backward()
        with torch.no_grad():
            for now, then in zip(model.parameters(), start.parameters(), strict=True):
                assert now.grad is not None
                now.sub_(0.1 * (now.grad + 0.5 * (now - then)))
    same_model(client.model, model)


# -- distil --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lr", "temperature"), [(None, 1.0), (0.02, 1.0), (None, 2.0)])
def test_distil_with_kl_is_the_plain_torch_loop(lr: float | None, temperature: float) -> None:
    client, model, losses = client_of(), model_of(), []
    x = torch.randn(9, 3, generator=seeded(7))
    labels = torch.randn(9, 4, generator=seeded(8)).softmax(dim=1)
    loop = loop_of(distil={"epochs": 2, "lr": lr})
    objective = KL(temperature=temperature)
    numbers = loop.distil([client], x, [Target(labels)], objective)[0]
    optimizer = torch.optim.SGD(model.parameters(), lr or 0.1, momentum=0.9)
    generator = seeded(99)
    for _ in range(2):
        order = torch.randperm(9, generator=generator)
        for rows in (order[:4], order[4:]):  # the ninth sample joins the second batch
            soft = labels[rows].log().div(temperature).softmax(dim=1)
            student = (model(x[rows]) / temperature).log_softmax(dim=1)
            loss = temperature**2 * (soft * (soft.log() - student)).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    same_model(client.model, model)
    assert numbers == {"loss_distil": pytest.approx(sum(losses) / 4, abs=1e-6)}


class Listening(Objective):
    """Notes what the loop tells an objective."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def start(self, student: nn.Module) -> None:
        self.heard.append("start")

    def progress(self, fraction: float) -> None:
        self.heard.append(fraction)

    def __call__(self, student_logits: Tensor, teacher: Target, batch: Any = None) -> Tensor:
        assert student_logits.requires_grad
        assert not teacher.values.requires_grad
        assert teacher.kind == "logits"
        assert teacher.values[:, 0].tolist() == batch.rows.tolist()
        assert batch.x[:, 0].tolist() == (batch.rows / 2).tolist()
        return student_logits.square().mean()


def test_an_objective_hears_its_start_its_progress_and_its_samples() -> None:
    objective = Listening()
    teacher = Target(torch.arange(8.0)[:, None].expand(-1, 4), "logits")
    x = torch.arange(8)[:, None].expand(-1, 3) / 2
    loop_of(distil={"epochs": 2}).distil([client_of()], x, [teacher], objective)
    assert objective.heard == ["start", 0.0, 0.25, 0.5, 0.75]


def test_one_teacher_for_each_client() -> None:
    x, labels = torch.zeros(4, 3), torch.full((4, 4), 0.25)
    with pytest.raises(ValueError, match="zip"):
        loop_of().distil([client_of(), client_of()], x, [Target(labels)], KL())


# -- predict -------------------------------------------------------------------------------------


def test_predict_gives_logits_of_all_samples_in_order() -> None:
    x = torch.randn(PREDICT_BATCH + 7, 3, generator=seeded(2))
    clients = [client_of(model_of(0)), client_of(model_of(1))]
    answers = loop_of().predict(clients, x)
    for client, logits in zip(clients, answers, strict=True):
        assert not logits.requires_grad
        assert logits.shape == (PREDICT_BATCH + 7, 4)
        with torch.no_grad():
            torch.testing.assert_close(logits, client.model(x))


def test_predict_neither_draws_nor_learns() -> None:
    """Dropout is off, BatchNorm keeps still, and no generator moves."""
    model = model_of(0, nn.BatchNorm1d(5), nn.Dropout(0.5))
    client = client_of(model)
    before = copy.deepcopy(model.state_dict())
    own, global_ = client.generator.get_state(), torch.get_rng_state()
    first, second = (loop_of().predict([client], client.x)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(client.generator.get_state(), own)
    assert torch.equal(torch.get_rng_state(), global_)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_training_after_predicting_trains_again() -> None:
    """Prediction leaves the model in evaluation mode; each phase turns dropout back on."""
    results = []
    for look in (False, True):
        model = model_of(0, nn.BatchNorm1d(5), nn.Dropout(0.5))
        client = client_of(model)
        loop = loop_of()
        if look:
            loop.predict([client], client.x)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            loop.fit([client])
            loop.distil([client], client.x, [Target(torch.full((10, 4), 0.25))], KL())
        assert model.training
        results.append(model)
    same_model(*results, atol=0)
    tracked = results[0].state_dict()["2.num_batches_tracked"]
    assert tracked.item() == 6 + 3


# -- what is uploaded, and a loop of one's own ---------------------------------------------------


def test_kinds_of_knowledge() -> None:
    logits = torch.randn(6, 4, generator=seeded(0))
    torch.testing.assert_close(SoftLabels().values(logits, 2.0), F.softmax(logits / 2, dim=1))
    assert torch.equal(Logits().values(logits, 2.0), logits)


def test_the_label_smoothing_plug_in() -> None:
    client, model = client_of(), model_of()
    loop = loop_of(Smoothed, fit={"epochs": 1, "batch_size": 10, "momentum": 0.0}, smoothing=0.2)
    loop.fit([client])
    soft = F.one_hot(client.y, 4) * 0.8 + 0.2 / 4
    (-(soft * model(client.x).log_softmax(dim=1)).sum(dim=1).mean()).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)
    same_model(client.model, model)


def test_soft_labels_of_a_temperature_are_not_softened_again() -> None:
    """Labels made at T, distilled at T, teach what the logits behind them teach at T."""
    logits = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    soft = Target((logits / 3).softmax(dim=-1), "soft_labels", 3.0)
    hard = Target(logits, "logits")
    for temperature in (1.0, 3.0, 5.0):
        torch.testing.assert_close(soft.probabilities(temperature), hard.probabilities(temperature))
    student = torch.zeros(10, 4)
    torch.testing.assert_close(
        KL(temperature=3.0)(student, soft), KL(temperature=3.0)(student, hard)
    )
