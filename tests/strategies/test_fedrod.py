"""FedRoD: the balanced loss by hand, and that neither head learns from the other's."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.two_heads import TwoHeads
from fedkd.clients.standard import Standard
from support import TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.models.features import features_of, head
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP

SMALL = TINY | {"clients": 6, "rounds": 3}
FIT = {"epochs": 1, "batch_size": 10, "optimizer": "sgd", "lr": 0.1, "momentum": 0.0}


def phase_of(model, x, y, classes=2, **fit):
    loop = Standard(fit=FIT | fit, distil={}, device="cpu")
    client = Client(0, model, x, y, torch.Generator().manual_seed(0))
    return SimpleNamespace(client=client, loop=loop, classes=classes, index=0)


def zeros(classes: int) -> nn.Linear:
    model = nn.Linear(1, classes)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def test_the_balanced_loss_by_hand() -> None:
    """n = (9, 1), z = 0: the rare sample's loss is ln 10; a plain head's is ln 2."""
    y = torch.tensor([0] * 9 + [1])
    phase = phase_of(zeros(2), torch.zeros(10, 1), y, lr=0.0)
    balanced = 0.9 * math.log(10 / 9) + 0.1 * math.log(10)
    assert TwoHeads().fit(phase)["loss_fit"] == pytest.approx(balanced + math.log(2), abs=1e-5)
    phase = phase_of(zeros(2), torch.zeros(10, 1), y, lr=0.0)
    assert TwoHeads(gamma=0).fit(phase)["loss_fit"] == pytest.approx(2 * math.log(2), abs=1e-5)
    assert (phase.client.log_prior, phase.client.extra_loss) == (None, None)


@pytest.mark.parametrize("batch_size", [4, 10])
def test_a_class_that_is_not_there_gets_no_gradient_and_no_infinite_loss(batch_size) -> None:
    """Also of 10 samples in batches of 4, whose last one a public code leaves out of its counts."""
    y = torch.tensor([0] * 9 + [1])
    phase = phase_of(zeros(3), torch.zeros(10, 1), y, 3, batch_size=batch_size)
    assert math.isfinite(TwoHeads().fit(phase)["loss_fit"])
    assert phase.client.model.bias[2].item() == 0
    assert phase.client.model.bias[:2].abs().min() > 0
    assert phase.client.tensors["personal"].isfinite().all()


def test_the_shared_model_learns_as_if_there_were_no_second_head() -> None:
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    y = torch.arange(20) % 10  # as many of each: balanced softmax is the plain one
    phase = phase_of(MLP((64,), 10), x, y, 10)
    alone = phase_of(copy.deepcopy(phase.client.model), x, y, 10)
    alone.loop.fit([alone.client])
    TwoHeads().fit(phase)
    torch.testing.assert_close(flatten(phase.client.model), flatten(alone.client.model))
    assert phase.client.tensors["personal"].abs().max() > 0


def test_predictions_begin_with_the_shared_head_s_and_not_with_twice_that() -> None:
    x, model = torch.ones(2, 64), MLP((64,), 10)
    phase = phase_of(model, x, torch.zeros(2, dtype=torch.int64), 10, epochs=0)
    TwoHeads().fit(phase)
    with TwoHeads().measuring(phase):
        assert torch.equal(phase.loop.predict([phase.client], x)[0], model(x).detach())
    own = nn.Linear(200, 10)
    phase.client.tensors["personal"] = flatten(own)
    with TwoHeads().measuring(phase):
        both = phase.loop.predict([phase.client], x)[0]
    torch.testing.assert_close(both, (model(x) + own(features_of(model, x))).detach())
    assert phase.client.model is model
    assert head(model).out_features == 10


def test_what_is_measured_may_be_either() -> None:
    runs = [
        fedkd.simulate({"name": "fedrod", "measured": measured}, **SMALL | {"fraction": 0.5})
        for measured in ("personal", "generic")
    ]
    assert runs[0].summary["digest"] == runs[1].summary["digest"]
    local = [run.summary["alma_local"]["last"] for run in runs]
    assert local[0] > local[1] + 0.05


def test_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"fraction": 0.5, "model": ["mlp", "lenet5"]}
    whole = fedkd.simulate("fedrod", **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate("fedrod", run_dir=str(run_dir), **settings | {"rounds": 2})
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.summary["alma_local"]["last"] == whole.summary["alma_local"]["last"]


@pytest.mark.parametrize(
    "more",
    [
        {"secure.aggregation": True, "fraction": 0.5},
        {"compress": "float16", "model": "resnet8"},
        {"engine.stack": "4"},
    ],
    ids=["secure", "float16", "stack"],
)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate("fedrod", **SMALL | {"rounds": 2} | more)
    assert result.summary["rejected"] == 0
    assert result.summary["alma_local"]["last"] > 0.1


def test_dp_sgd_is_refused_by_name() -> None:
    privacy = {"name": "dp_sgd", "noise_multiplier": 1.0}
    with pytest.raises(ConfigError, match=r"privacy=dp_sgd: .*its own way.* \(strategy fedrod\)"):
        fedkd.simulate("fedrod", privacy=privacy, **SMALL)
