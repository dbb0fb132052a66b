"""RHFL: weights by the fall of losses, the symmetric loss, and its traps."""

import math
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.symmetric_labels import SymmetricLabels, reverse
from fedkd.clients.standard import Standard
from fedkd.strategies.rhfl import RHFL, progress
from support import TINY, stack_of
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError


def weights(before: list[float], now: list[float], strategy: RHFL | None = None) -> Tensor:
    strategy = strategy or RHFL()
    strategy.state["losses"] = torch.tensor(before)
    losses = {"loss": torch.tensor(now).unsqueeze(1)}
    return strategy.weights(stack_of(torch.full((len(now), 1, 2), 0.5), extras=losses))


def test_weights_by_hand() -> None:
    share = progress(torch.ones(3), torch.tensor([0.5, 0.8, 1.0]))
    whole = (0.5 * share).softmax(dim=0)
    expected = torch.tensor([0.4147, 0.3072, 0.2780])
    torch.testing.assert_close(whole.float(), expected, atol=1e-4, rtol=0)
    others = weights([1.0, 1.0, 1.0], [0.5, 0.8, 1.0])
    torch.testing.assert_close(others[2, :2].double(), whole[:2] / whole[:2].sum())


def test_trap_the_others_weights_sum_to_1_without_ones_own() -> None:
    found = weights([1.0, 1.0, 1.0], [0.5, 0.8, 1.0])
    assert found.diagonal().tolist() == [0, 0, 0]
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("now", [[2.0, 2.0, 2.0], [0.5, 2.0, 2.0], [1.0, 1.0, 1.0], [0.0, 0, 1]])
def test_trap_losses_that_rise_turn_nothing_around(now: list[float]) -> None:
    """Public code divides by the sum of Q: here it would be below 0, 0, or infinite."""
    share = progress(torch.ones(3), torch.tensor(now))
    assert ((share >= 0) & (share <= 1)).all()
    assert share[0] == share.max()
    others = weights([1.0, 1.0, 1.0], now)
    assert others.isfinite().all()
    assert others[1, 0] >= others[1, 2]


def test_first_timers_count_as_the_mean_and_all_alike_at_first() -> None:
    found = weights([1.0, 1.0, -1.0], [0.5, 0.8, 0.1])
    mean = (1 + 0.25) / 2
    expected = progress(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.5, 0.8, 1 / (1 + mean)]))
    torch.testing.assert_close(found[0, 1:].double(), (0.5 * expected)[1:].softmax(dim=0))
    assert weights([-1.0] * 3, [0.5, 0.8, 0.1])[0].tolist() == [0, 0.5, 0.5]
    assert weights([-1.0], [0.5]).tolist() == [[1.0]]


def phase_of(model: nn.Module, x: Tensor, y: Tensor) -> SimpleNamespace:
    fit = {"epochs": 1, "batch_size": 10, "optimizer": "sgd", "lr": 0.0, "momentum": 0.0}
    client = Client(0, model, x, y, torch.Generator().manual_seed(0))
    transfer = lambda: (x, torch.arange(len(x)))  # noqa: E731
    return SimpleNamespace(
        client=client,
        loop=Standard(fit=fit, distil={}, device="cpu"),
        index=0,
        classes=4,
        options={"temperature": 1.0},
        transfer=transfer,
    )


def test_the_symmetric_loss_by_hand() -> None:
    """p = 1/4: CE = ln 4, RCE = -3/4 ln 1e-4; it is learnt by, and it is uploaded."""
    model = nn.Linear(2, 4)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    phase = phase_of(model, torch.zeros(5, 2), torch.arange(5) % 4)
    expected = 0.1 * math.log(4) - 0.75 * math.log(1e-4)
    exchange = SymmetricLabels()
    assert exchange.fit(phase)["loss_fit"] == pytest.approx(expected, abs=1e-4)  # type: ignore[arg-type]
    sent = exchange.upload(phase).extras["loss"]  # type: ignore[arg-type]
    torch.testing.assert_close(sent, torch.tensor([expected]))
    assert phase.client.extra_loss is None
    assert reverse(torch.tensor([[99.0, 0.0]]), torch.tensor([0])) < 1e-6


@pytest.mark.parametrize(
    ("name", "value"), [("beta", -1.0), ("ce", -0.5), ("rce", math.nan), ("rce", math.inf)]
)
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"strategy.{name}.*{value}"):
        fedkd.simulate({"name": "rhfl", name: value}, **TINY)


def test_absent_clients_keep_their_losses_and_runs_resume(tmp_path) -> None:
    settings = TINY | {"fraction": 0.6, "model": ["mlp", "lenet5"]}
    strategy = RHFL()
    whole = fedkd.simulate(strategy, **settings | {"rounds": 4}).summary["digest"]
    assert strategy.state["losses"].shape == (5,)
    fedkd.simulate("rhfl", run_dir=str(tmp_path / "run"), **settings)
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole


def test_one_loss_is_private_and_dp_sgd_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^privacy=dp_sgd: "):
        fedkd.simulate("rhfl", **TINY | {"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}})
