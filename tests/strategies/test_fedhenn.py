"""FedHeNN: kernels, their alignment, whose mean it is, and the traps of public code."""

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.kernels import Kernels, alignment, centred, products
from fedkd.clients.standard import Standard
from fedkd.strategies.fedhenn import FedHeNN
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError
from fedkd.knowledge import Target
from fedkd.models.features import features_of
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def aligned(one: Tensor, other: Tensor) -> float:
    return alignment(centred(one), centred(other)).item()


def test_the_alignment_is_blind_to_scale_and_to_rotation() -> None:
    features = drawn(8, 5)
    kernel, turned = products(features), products(features @ torch.linalg.qr(drawn(5, 5))[0])
    assert aligned(kernel, 7 * kernel) == pytest.approx(1, abs=1e-5)
    assert aligned(kernel, turned) == pytest.approx(1, abs=1e-5)
    assert aligned(kernel, products(drawn(8, 5, seed=1))) < 0.9


def test_the_alignment_by_hand() -> None:
    """Centred: u u' and v v' of u = (1, -1, 0), v = (1, 1, -2): 0; of u and u + v: 4 / (2 * 8)."""
    u, v = torch.tensor([1.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, -2.0])
    assert aligned(u.outer(u), v.outer(v)) == pytest.approx(0, abs=1e-6)
    assert aligned(u.outer(u), (u + v).outer(u + v)) == pytest.approx(4 / 16)


def phase_of(model: nn.Module, round_: int = 3, lr: float = 0.0, **tensors: Tensor) -> Any:
    fit = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": lr, "momentum": 0.0}
    x = drawn(8, 64)
    client = Client(0, model, x, torch.arange(8), torch.Generator().manual_seed(0))
    client.tensors = tensors
    return SimpleNamespace(
        client=client,
        loop=Standard(fit=fit, distil={}, device="cpu"),
        bench=SimpleNamespace(transfer=drawn(12, 64, seed=1)),
        options={"images": [0, 1, 2, 3], "seen": [5, 6, 7]},
        round=round_,
        index=0,
    )


def test_the_loss_is_about_the_samples_that_the_mean_is_about() -> None:
    model = MLP((64,), 10)
    plain = Kernels().fit(phase_of(model))["loss_fit"]
    kernel = products(drawn(3, 4, seed=2))
    phase = phase_of(model, kernel=kernel)
    own = products(features_of(model, phase.bench.transfer[[5, 6, 7]]))
    expected = plain + 0.5 * math.sqrt(2) * (1 - aligned(own, kernel))
    assert Kernels(eta=0.5).fit(phase)["loss_fit"] == pytest.approx(expected, abs=1e-5)
    sent = Kernels().upload(phase)
    features = features_of(model, phase.bench.transfer[:4])
    torch.testing.assert_close(sent.values, products(features))


def test_in_the_first_round_there_is_nothing_to_be_aligned_with() -> None:
    model = MLP((64,), 10)
    first = phase_of(model, round_=1, kernel=products(drawn(3, 4)))
    assert Kernels(eta=9.0).fit(first) == Kernels().fit(phase_of(model))


def test_trap_clients_come_nearer_to_the_mean() -> None:
    """A public port adds +CKA."""
    model, kernel = MLP((64,), 10), products(drawn(3, 4, seed=2))
    near = []
    for eta in (0.0, 5.0):
        phase = phase_of(copy.deepcopy(model), lr=0.05, kernel=kernel)
        for _ in range(10):
            Kernels(eta=eta).fit(phase)
        seen = features_of(phase.client.model, phase.bench.transfer[[5, 6, 7]])
        near.append(aligned(products(seen), kernel))
    assert near[1] > near[0] + 0.02


def test_trap_the_mean_is_kept_without_a_graph() -> None:
    phase = phase_of(MLP((64,), 10))
    Kernels().learn(phase, Target(products(drawn(3, 4)), "kernels"))
    assert not phase.client.tensors["kernel"].requires_grad
    assert not Kernels().upload(phase).values.requires_grad


def test_images_move_no_statistics_of_batch_normalisation() -> None:
    model = nn.Sequential(nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))
    alone, beside = phase_of(copy.deepcopy(model)), phase_of(copy.deepcopy(model))
    beside.client.tensors["kernel"] = products(drawn(3, 4))
    for phase in (alone, beside):
        Kernels(eta=1.0).fit(phase)
    torch.testing.assert_close(flatten(alone.client.model), flatten(beside.client.model))


def test_clients_come_and_go_and_runs_resume(tmp_path) -> None:
    settings = TINY | {"fraction": 0.6, "transfer.per_round": 30, "model": MIXED}
    node, strategy = {"name": "fedhenn", "images": 20}, FedHeNN(images=20)
    whole = fedkd.simulate(strategy, **settings | {"rounds": 4}).summary
    assert whole["rejected"] == 0
    assert strategy.state["teacher"].shape == (20, 20)
    assert strategy.state["seen"].shape == (20,)
    fedkd.simulate(node, run_dir=str(tmp_path / "run"), **settings)
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole["digest"]


@pytest.mark.parametrize(("name", "value"), [("eta", -1.0), ("images", 1)])
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        fedkd.simulate({"name": "fedhenn", name: value}, **TINY)


def test_sums_of_kernels_are_all_the_server_needs() -> None:
    settings = TINY | {"secure.aggregation": True}
    assert fedkd.simulate("fedhenn", **settings).summary["rejected"] == 0
