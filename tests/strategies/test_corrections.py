"""SCAFFOLD, FedDyn, FedNova: values by hand, what is kept where, who is away, what is refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.controlled import COMMON, OWN, Controlled
from fedkd.clients.exchange.corrections import PENDING, Corrected
from fedkd.clients.exchange.counted_steps import STEPS, CountedSteps
from fedkd.clients.exchange.dynamic_regulariser import MEAN_SAMPLES, PAST, DynamicRegulariser
from fedkd.clients.standard import Standard
from fedkd.strategies.feddyn import FedDyn
from fedkd.strategies.fednova import FedNova
from fedkd.strategies.scaffold import SCAFFOLD
from hypothesis import given
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack, Target, to_tensor
from fedkd.maths.momentum import carried
from fedkd.models.flat import flatten, trained
from fedkd.models.resnet8 import ResNet8
from fedkd.rundir.checkpoint import newest

SMALL = TINY | {"fit.epochs": 1}
METHODS = ("scaffold", "feddyn", "fednova")
NONE = torch.zeros(0, dtype=torch.int64)


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2 / 2).mean()


def product(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * targets).mean()


def phase_of(loss: Any, steps: int, momentum: float = 0.0, lr: float = 0.1, y: float = 1.0) -> Any:
    """A client of one weight that starts at 0, and one sample: f(w) = loss(w, y)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    one = torch.ones(1, 1)
    client = Client(0, model, one, y * one, torch.Generator().manual_seed(0), loss=loss)
    fit = {
        "epochs": steps, "batch_size": 1, "lr": lr, "momentum": momentum, "optimizer": "sgd"
    }  # fmt: skip
    loop = Standard(fit=fit, distil=fit, device="cpu")
    bench = SimpleNamespace(private=lambda index: (one, one))
    more = {"bench": bench, "options": {MEAN_SAMPLES: 1.0}, "round": 1}
    return SimpleNamespace(client=client, loop=loop, index=0, **more)


def teach(exchange: Corrected, phase: Any, *values: float) -> None:
    exchange.learn(phase, Target(torch.tensor(values), "parameters"))


# -- by hand ---------------------------------------------------------------------------------------


def test_scaffold_by_hand() -> None:
    """f = (x - 1)^2 / 2, w = 0, lr .1, 2 steps: y = .19, c_k+ = -.95; of two clients c = -.475."""
    phase, exchange = phase_of(half_square, 2), Controlled()
    exchange.fit(phase)
    upload = exchange.upload(phase)
    torch.testing.assert_close(upload.values, torch.tensor([0.19, -0.95]))
    after = SCAFFOLD().stepped(torch.zeros(2), upload.values, 1 / 2)
    torch.testing.assert_close(after, torch.tensor([0.19, -0.475]))
    teach(exchange, phase, *after.tolist())
    torch.testing.assert_close(phase.client.tensors[OWN], torch.tensor([-0.95]))
    exchange.fit(phase)  # g + c - c_k = w - 1 + .475
    first = 0.19 - 0.1 * (0.19 - 1 + 0.475)
    second = first - 0.1 * (first - 1 + 0.475)
    assert phase.client.model.weight.item() == pytest.approx(second)
    mean = ((0.19 - 1) + (first - 1)) / 2
    assert phase.client.tensors[PENDING + OWN].item() == pytest.approx(mean)


@given(st.floats(-3, 3), st.floats(-1, 1), st.integers(1, 6), st.sampled_from([0.0, 0.5, 0.9]))
def test_momentum_leaves_control_variates_mean_gradients(
    gradient: float, common: float, steps: int, momentum: float
) -> None:
    """Re-implementations divide by the steps alone: with momentum that is up to ten times it."""
    phase, exchange = phase_of(product, steps, momentum, y=gradient), Controlled()
    phase.client.tensors |= {COMMON: torch.tensor([common]), OWN: torch.tensor([0.25])}
    exchange.fit(phase)
    kept = phase.client.tensors[PENDING + OWN].item()
    assert kept == pytest.approx(gradient, abs=1e-4)


def test_feddyn_by_hand() -> None:
    """K = 1, f = (w - 1)^2 / 2, alpha 1, minimised: w .5, h .5, server 1; then .75, .25, 1."""
    phase, exchange, method = phase_of(half_square, 200), DynamicRegulariser(alpha=1.0), FedDyn()
    before, past = torch.zeros(1), torch.zeros(1)
    for wanted in (0.5, 0.75):
        exchange.fit(phase)
        own = exchange.upload(phase).values
        assert own.item() == pytest.approx(wanted, abs=1e-4)
        before, past = method.stepped(before, own, past, 1.0)
        teach(exchange, phase, *before.tolist())
        assert phase.client.tensors[PAST].item() == pytest.approx(1 - wanted, abs=1e-4)
        assert past.item() == pytest.approx(1 - wanted, abs=1e-4)
        assert before.item() == pytest.approx(1, abs=1e-4)


def test_feddyn_pulls_by_the_square_of_the_distance_not_by_the_distance() -> None:
    """PFLlib's pull is as hard near w_t as far from it."""
    phase = phase_of(product, 1, y=0.0)
    with DynamicRegulariser(alpha=2.0).fitting(phase):
        nn.init.constant_(phase.client.model.weight, 0.25)
        value = phase.client.extra_loss(torch.zeros(1), torch.zeros(1))
        assert value.item() == pytest.approx(2 * 0.25**2 / 2)
        value.backward()
        assert phase.client.model.weight.grad.item() == pytest.approx(2 * 0.25)


def test_feddyn_weighs_a_client_by_its_samples() -> None:
    phase = phase_of(product, 1)
    phase.options[MEAN_SAMPLES] = 3.0
    assert DynamicRegulariser(alpha=0.5).correction(phase)[1] == pytest.approx(1.5)


def stack(values: Tensor, samples: list[float], steps: list[float]) -> KnowledgeStack:
    extras = {"samples": torch.tensor(samples)[:, None], "steps": torch.tensor(steps)[:, None]}
    return KnowledgeStack("parameters", values, list(range(len(values))), NONE, extras=extras)


def test_fednova_by_hand() -> None:
    """p = 1/2 each, 1 and 3 steps, gradients 1 and -1, lr .1: it stays; FedAvg would move by .1."""
    method = FedNova()
    method.state["shared.0"] = torch.zeros(1)
    made = stack(torch.tensor([[-0.1], [0.3]]), [5.0, 5.0], [1.0, 3.0])
    assert method.fuse(made).item() == pytest.approx(0, abs=1e-7)
    assert made.values.mean().item() == pytest.approx(0.1)
    phase = phase_of(product, 3, momentum=0.5)
    exchange = CountedSteps()
    exchange.fit(phase)
    upload = exchange.upload(phase)
    assert upload.extras[STEPS].item() == carried(3, 0.5) == 1 + 1.5 + 1.75
    assert upload.values.item() == pytest.approx(-0.1 * 4.25)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=5), st.integers(1, 50), st.randoms())
def test_fednova_of_equal_steps_is_fedavg_whatever_the_order(
    values: list[float], steps: int, random: Any
) -> None:
    method = FedNova()
    method.state["shared.0"] = torch.tensor([0.5])
    rows = [(value, float(random.randint(1, 9))) for value in values]
    mean = sum(v * n for v, n in rows) / sum(n for _, n in rows)
    for _ in range(2):
        made = stack(
            torch.tensor([[v] for v, _ in rows]), [n for _, n in rows], [float(steps)] * len(rows)
        )
        assert method.fuse(made).item() == pytest.approx(mean, abs=1e-4)
        random.shuffle(rows)


# -- what is kept, and by whom ---------------------------------------------------------------------


@pytest.mark.parametrize(("exchange", "name"), [(Controlled(), OWN), (DynamicRegulariser(), PAST)])
def test_a_client_whose_upload_was_lost_keeps_what_it_had(exchange: Corrected, name: str) -> None:
    phase = phase_of(half_square, 2)
    exchange.fit(phase)
    assert name not in phase.client.tensors
    values = [0.0, 0.0] if name == OWN else [0.0]
    exchange.receive(phase, Target(torch.tensor(values), "parameters"))  # it was away, and is back
    exchange.fit(phase)
    teach(exchange, phase, *values)
    once = phase_of(half_square, 2)
    exchange.fit(once)
    torch.testing.assert_close(phase.client.tensors[name], once.client.tensors[PENDING + name])


@pytest.mark.parametrize(("method", "name"), [("scaffold", OWN), ("feddyn", PAST)])
def test_the_server_keeps_the_mean_over_all_clients_who_were_away_or_lost_among_them(
    method: str, name: str, tmp_path: Any
) -> None:
    settings = SMALL | {"clients": 8, "fraction": 0.6, "faults.dropout": 0.2, "seed": 3}
    run_dir = tmp_path / "run"
    result = fedkd.simulate(method, run_dir=str(run_dir), **settings | {"rounds": 3})
    assert result.summary["rejected"] > 0
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    records = [one.array_records["tensors"] for some in checkpoint.clients for one in some.values()]
    kept = [to_tensor(record[name]) for record in records if name in record]
    assert 0 < len(kept) < 8
    state = checkpoint.server
    ours = state["past"] if method == "feddyn" else state["shared.0"].chunk(2)[1]
    assert ours.abs().max() > 1e-3
    torch.testing.assert_close(ours, torch.stack(kept).sum(dim=0) / 8, rtol=1e-4, atol=1e-5)
    whole = fedkd.simulate(method, **settings | {"rounds": 4})
    assert fedkd.resume(run_dir, rounds=4).summary["digest"] == whole.summary["digest"]


class DeafVariate(Controlled):
    """Client 1 does not get the answer of round 2."""

    def learn(self, phase: Any, target: Target) -> dict[str, float]:
        if (phase.index, phase.round) == (1, 2):
            raise RuntimeError("the answer is lost")
        return super().learn(phase, target)


class DeafMovement(DynamicRegulariser):
    """Client 1 does not get the answer of round 2."""

    def learn(self, phase: Any, target: Target) -> dict[str, float]:
        if (phase.index, phase.round) == (1, 2):
            raise RuntimeError("the answer is lost")
        return super().learn(phase, target)


class DeafSCAFFOLD(SCAFFOLD):
    exchange = f"{__file__}:DeafVariate"


class DeafFedDyn(FedDyn):
    exchange = f"{__file__}:DeafMovement"


@pytest.mark.parametrize(("cls", "name"), [(DeafSCAFFOLD, OWN), (DeafFedDyn, PAST)])
def test_a_client_to_whom_only_the_answer_was_lost_keeps_what_counted_at_the_server(
    cls: type[SCAFFOLD | FedDyn], name: str, tmp_path: Any
) -> None:
    """The mean would be off by its change for ever."""
    run_dir, settings = tmp_path / "run", SMALL | {"clients": 3}
    assert fedkd.simulate(cls(), run_dir=str(run_dir), **settings).summary["rejected"] == 1
    result = fedkd.resume(run_dir, strategy=cls(), rounds=4)
    assert (
        result.summary["digest"]
        == fedkd.simulate(cls(), **settings | {"rounds": 4}).summary["digest"]
    )
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    records = [one.array_records["tensors"] for some in checkpoint.clients for one in some.values()]
    kept = torch.stack([to_tensor(record[name]) for record in records])
    state = checkpoint.server
    ours = state["past"] if name == PAST else state["shared.0"].chunk(2)[1]
    torch.testing.assert_close(ours, kept.mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_statistics_of_batchnorm_are_averaged_and_not_corrected(method: str, tmp_path: Any) -> None:
    run_dir = tmp_path / "run"
    settings = SMALL | {"clients": 2, "rounds": 2, "model": "resnet8"}
    fedkd.simulate(method, run_dir=str(run_dir), **settings)
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    own = trained(ResNet8((1, 8, 8), 10))
    extra = {"scaffold": lambda s: s["shared.0"].chunk(2)[1], "feddyn": lambda s: s["past"]}
    if method in extra:
        values = extra[method](checkpoint.server)
        assert values[own].any()
        assert not values[~own].any()
    model = checkpoint.server["shared.0"][: len(own)]
    assert model[~own].abs().max() > 0


def test_fednova_has_momentum_of_the_server_and_clients_take_different_steps(tmp_path: Any) -> None:
    settings = SMALL | {"data.alpha": 0.3, "data.samples_per_client": None, "clients": 4}
    run_dir, node = tmp_path / "run", {"name": "fednova", "server_momentum": 0.5}
    fedkd.simulate(node, run_dir=str(run_dir), **settings | {"rounds": 2})
    plain = fedkd.simulate("fednova", **settings | {"rounds": 3})
    resumed = fedkd.resume(run_dir, rounds=3)
    whole = fedkd.simulate(node, **settings | {"rounds": 3})
    assert resumed.summary["digest"] == whole.summary["digest"] != plain.summary["digest"]


@pytest.mark.parametrize("method", ["scaffold", "feddyn"])
def test_masked_sums_end_as_plain_ones(method: str) -> None:
    plain, masked = (
        flatten(fedkd.simulate(method, **SMALL, **more).model(0))
        for more in ({}, {"secure.aggregation": True})
    )
    assert (plain - masked).abs().max() < 1e-4


# -- what is refused -------------------------------------------------------------------------------


def test_what_cannot_be_done_right_is_refused_by_name() -> None:
    for name in METHODS:
        with pytest.raises(ConfigError, match=rf"fit\.optimizer=adam: {name} corrects .* use sgd"):
            fedkd.simulate(name, **SMALL | {"fit.optimizer": "adam"})
        with pytest.raises(ConfigError, match="all clients need the same one"):
            fedkd.simulate(name, model=MIXED, **SMALL)
        with pytest.raises(ConfigError, match=f"privacy=dp_sgd: .*in its own way.*{name}"):
            fedkd.simulate(name, privacy={"name": "dp_sgd", "noise_multiplier": 1.0}, **SMALL)
    with pytest.raises(ConfigError, match="fednova looks at what each"):
        fedkd.simulate("fednova", **SMALL | {"secure.aggregation": True})


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "scaffold", "server_lr": 0.0}, "server_lr=0.0: must be greater than 0"),
        ({"name": "feddyn", "alpha": float("nan")}, "alpha=nan"),
        ({"name": "fednova", "server_momentum": 1.0}, "server_momentum=1.0: must be at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused_by_their_key(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^strategy\.{words}"):
        fedkd.simulate(node, **SMALL)
