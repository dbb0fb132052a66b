"""FedDistill+: the mean logits by hand, who counts in them, and who is sent them."""

import math
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.logits_beside import LogitsBeside
from fedkd.clients.standard import Standard
from fedkd.strategies.feddistill_plus import FedDistillPlus, pooled
from support import TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import Target
from fedkd.models.flat import flatten, size

SMALL = TINY | {"clients": 6, "data.alpha": 0.3}


def phase_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> SimpleNamespace:
    settings = {"epochs": 1, "batch_size": 10, "optimizer": "sgd", "lr": 1.0, "momentum": 0.0}
    loop = Standard(fit=settings, distil={}, device="cpu")
    client = Client(0, model, x, y, torch.Generator().manual_seed(0))
    return SimpleNamespace(client=client, loop=loop, classes=2, index=0)


def weight(rows: list[list[float]]) -> nn.Linear:
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(rows))
    return model


def test_a_client_without_a_class_does_not_pull_its_mean_to_zero() -> None:
    """Two samples of class 0, logits that sum to (6, 0), and a client without: (3, 0), .953."""
    one = phase_of(weight([[1.0], [0.0]]), torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]))
    none = phase_of(weight([[1.0], [0.0]]), torch.zeros(1, 1), torch.tensor([1]))
    vectors = torch.stack([LogitsBeside().vector(one), LogitsBeside().vector(none)])
    assert vectors[0, 2:].tolist() == [3.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    found = pooled(vectors[:, 2:], classes=2)
    assert found.tolist() == [3.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert found[:2].softmax(0)[0].item() == pytest.approx(0.9526, abs=1e-4)


def test_clients_count_alike_however_many_samples_they_have() -> None:
    many = phase_of(weight([[1.0], [0.0]]), torch.full((9, 1), 2.0), torch.zeros(9).long())
    few = phase_of(weight([[1.0], [0.0]]), torch.full((1, 1), 4.0), torch.zeros(1).long())
    tails = torch.stack([LogitsBeside().vector(phase)[2:] for phase in (many, few)])
    assert pooled(tails, classes=2)[0].item() == 3.0


def test_a_codec_s_rounding_leaves_who_has_what() -> None:
    tails = torch.tensor([[3.0, 0.0, 0.1, 0.1, 0.93, 0.07]])
    assert pooled(tails, classes=2).tolist() == [3.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_the_gradient_is_that_of_both_losses() -> None:
    """z = 0, y = 0, G[0] = (ln 3, 0): (1/2 - 1) + (1/2 - 3/4) = -3/4, and without G -1/2."""
    means = torch.tensor([math.log(3), 0.0, 0.0, 0.0])
    for known, step in ((1.0, 0.75), (0.0, 0.5)):
        phase = phase_of(weight([[0.0], [0.0]]), torch.ones(1, 1), torch.tensor([0]))
        values = torch.cat([torch.zeros(2), means, torch.tensor([known, 0.0])])
        exchange = LogitsBeside()
        exchange.receive(phase, Target(values, "parameters"))
        with exchange.fitting(phase):
            phase.loop.fit([phase.client])
        assert phase.client.model.weight[0].item() == pytest.approx(step, abs=1e-6)


class Absent(FedDistillPlus):
    """After the first round clients of one of two architectures take part, then of the other."""

    def cohort(self, number, drawn, clients):
        return [0, 1, 2, 3] if number == 1 else [0, 2] if number == 2 else [1, 3]


def test_whose_architecture_was_away_gets_the_newest_means() -> None:
    strategy = Absent()
    result = fedkd.simulate(strategy, model=["mlp", "lenet5"], **SMALL | {"rounds": 3})
    assert result.summary["rejected"] == 0
    models = [size(result.model(client)) for client in (0, 1)]
    first, second = (strategy.state[f"shared.{number}"] for number in (0, 1))
    assert [len(first), len(second)] == [count + 110 for count in models]
    assert torch.equal(first[-110:], second[-110:])
    assert not strategy.state["fresh"][[0, 2]].any()  # they are sent theirs when they are back


def test_without_weight_it_is_fedavg_and_with_one_it_is_not() -> None:
    settings = SMALL | {"fraction": 0.5, "rounds": 3}
    plain = fedkd.simulate({"name": "feddf", "epochs": 0}, **settings)
    runs = [fedkd.simulate({"name": "feddistill_plus", "weight": w}, **settings) for w in (0, 1)]
    models = [flatten(run.model(0)) for run in (plain, *runs)]
    torch.testing.assert_close(models[0], models[1])
    assert (models[0] - models[2]).abs().max() > 1e-3


def test_a_run_of_mixed_models_can_be_resumed(tmp_path) -> None:
    settings = SMALL | {"fraction": 0.5, "model": ["mlp", "lenet5"], "compress": "float16"}
    whole = fedkd.simulate("feddistill_plus", **settings | {"rounds": 4})
    fedkd.simulate("feddistill_plus", run_dir=str(tmp_path / "run"), **settings)
    resumed = fedkd.resume(tmp_path / "run", rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"secure.aggregation": True}, "feddistill_plus"),
        ({"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}}, "strategy feddistill_plus"),
    ],
)
def test_what_sums_or_noise_for_the_model_alone_cannot_do_is_refused(more, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        fedkd.simulate("feddistill_plus", **SMALL | more)
