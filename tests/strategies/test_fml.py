"""FML against its formula, the trap of the public defaults, and what stays with the client."""

import math
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.mentee import Mentee, size_of
from fedkd.clients.standard import Standard
from fedkd.strategies.fml import FML
from support import MIXED, TINY
from torch import nn
from torch.nn import functional as F

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack, to_tensor
from fedkd.maths.mutual import divergence_from, mutual
from fedkd.models import build
from fedkd.models.flat import flatten
from fedkd.models.resnet8 import ResNet8
from fedkd.rng import scoped
from fedkd.rundir.checkpoint import newest

SMALL = TINY | {"fit.epochs": 1}
FIT = {"epochs": 2, "batch_size": 8, "lr": 0.05, "momentum": 0.9, "optimizer": "sgd"}


def small(classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes))


def phase_of(model: nn.Module, tensors: dict, shape: tuple[int, ...] = (4,)) -> SimpleNamespace:
    """What an exchange looks at, without a message."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, *shape, generator=generator)
    y = torch.arange(20) % 3
    client = Client(0, model, x, y, generator, tensors=tensors)

    def make(spec, name):
        with scoped(len(name)):
            return build(spec, shape, 3)

    loop = Standard(fit=FIT, distil=FIT, device="cpu")
    return SimpleNamespace(client=client, loop=loop, build=make, index=0, round=1, options={})


def test_the_losses_by_hand() -> None:
    """Own logits 0, shared logits (ln 3, 0): p_own = (1/2, 1/2), p_shared = (3/4, 1/4), y = 0."""
    own, shared = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    there = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # KL(shared || own)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)  # KL(own || shared)
    label = torch.tensor([0])
    torch.testing.assert_close(divergence_from(shared, own).item(), there)
    whole = F.cross_entropy(own, label) + mutual(own, shared, label, 0.75, 0.25)
    by_hand = 0.75 * math.log(2) + 0.25 * there + 0.25 * math.log(4 / 3) + 0.75 * back
    torch.testing.assert_close(whole.item(), by_hand)


def test_each_loss_trains_its_own_model() -> None:
    own = torch.randn(4, 3, requires_grad=True)
    shared = torch.randn(4, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    (F.cross_entropy(own, labels) + mutual(own, shared, labels, 0.3, 0.8)).backward()
    assert own.grad is not None
    assert shared.grad is not None
    p, q, one = own.detach().softmax(1), shared.detach().softmax(1), F.one_hot(labels, 3)
    torch.testing.assert_close(own.grad, (0.3 * (p - one) + 0.7 * (p - q)) / 4)
    torch.testing.assert_close(shared.grad, (0.8 * (q - one) + 0.2 * (q - p)) / 4)


def test_the_public_default_of_1_means_no_kl_at_all_so_ours_is_one_half() -> None:
    """With alpha = beta = 1 the models never meet: what is left is local training, bit for bit."""
    assert (FML().alpha, FML().beta) == (0.5, 0.5)
    alone = fedkd.simulate("local", model="lenet5", **SMALL)
    deaf = fedkd.simulate({"name": "fml", "alpha": 1.0, "beta": 1.0}, model="lenet5", **SMALL)
    ours = fedkd.simulate("fml", model="lenet5", **SMALL)
    for client in range(5):
        expected = flatten(alone.model(client))
        assert torch.equal(flatten(deaf.model(client)), expected)
        assert (flatten(ours.model(client)) - expected).abs().max() > 1e-3


def test_the_mentees_are_averaged_by_samples() -> None:
    values, trained = torch.tensor([[1.0, 0.0], [5.0, 4.0]]), torch.tensor([[30.0], [10.0]])
    none = torch.zeros(0, dtype=torch.int64)
    stack = KnowledgeStack("parameters", values, [0, 3], none, extras={"samples": trained})
    fused = FML().fuse(stack)
    assert torch.equal(fused, torch.tensor([2.0, 1.0]))
    assert (fused - values.mean(dim=0)).abs().min() > 1e-3


def test_a_client_has_its_own_model_back_after_a_fit() -> None:
    own, mentee = small(), build("mlp", (4,), 3)
    phase = phase_of(own, {"mentee": flatten(mentee)})
    before = flatten(own)
    with_pair = []
    exchange = Mentee()
    with exchange.fitting(phase):
        with_pair.append(phase.client.model)
        phase.loop.fit([phase.client])
    assert phase.client.model is own
    assert phase.client.extra_loss is None
    assert with_pair[0] is not own
    assert not torch.equal(flatten(own), before)
    assert not torch.equal(phase.client.tensors["mentee"], flatten(mentee))
    logits = phase.loop.predict([phase.client], phase.client.x)[0]
    torch.testing.assert_close(logits, own.eval()(phase.client.x))
    upload = exchange.upload(phase)
    assert torch.equal(upload.values, phase.client.tensors["mentee"])
    assert upload.extras["samples"].item() == 20


def test_a_client_has_its_own_model_back_after_a_fit_that_failed() -> None:
    own = small()
    tensors = {"mentee": flatten(build("mlp", (4,), 3))}
    phase = phase_of(own, dict(tensors))
    with pytest.raises(ZeroDivisionError), Mentee().fitting(phase):
        raise ZeroDivisionError
    assert phase.client.model is own
    assert phase.client.extra_loss is None
    assert torch.equal(phase.client.tensors["mentee"], tensors["mentee"])


def test_batchnorm_buffers_of_both_models_are_kept() -> None:
    shape = (1, 8, 8)
    own, mentee = ResNet8(shape, 3), ResNet8(shape, 3)
    phase = phase_of(own, {"mentee": flatten(mentee)}, shape)
    with Mentee("resnet8").fitting(phase):
        phase.loop.fit([phase.client])
    means = [v for k, v in own.state_dict().items() if k.endswith("running_mean")]
    assert all(value.abs().max() > 0 for value in means)
    kept = fedkd.models.flat.unflatten(mentee, phase.client.tensors["mentee"]).state_dict()
    others = [v for k, v in kept.items() if k.endswith("running_mean")]
    assert all(value.abs().max() > 0 for value in others)
    assert not torch.equal(means[0], others[0])


def test_mixed_models_share_one_mentee_and_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "fraction": 0.6, "clients": 6}
    whole = fedkd.simulate("fml", **settings | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate("fml", run_dir=str(run_dir), **settings | {"rounds": 2})
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    assert checkpoint.server["shared.0"].shape == (size_of("mlp", (1, 8, 8), 10),)
    everyone = [content for some in checkpoint.clients for content in some.values()]
    for content in everyone:
        tensors = content.array_records["tensors"]
        assert set(tensors) <= {"mentee"}
        if "mentee" in tensors and bool(checkpoint.server["fresh"].any()):
            assert to_tensor(tensors["mentee"]).shape == checkpoint.server["shared.0"].shape
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.summary["rejected"] == 0


def test_the_bytes_are_those_of_the_mentee() -> None:
    result = fedkd.simulate("fml", model="resnet8", **SMALL | {"rounds": 1})
    numbers = 5 * size_of("mlp", (1, 8, 8), 10)
    assert result.summary["bytes_up"] == pytest.approx(4 * numbers, rel=0.02)
    assert result.summary["bytes_down"] == pytest.approx(8 * numbers, rel=0.02)  # first and mean


@pytest.mark.parametrize("parameters", [{"alpha": -0.1}, {"beta": 1.5}, {"alpha": float("nan")}])
def test_shares_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        FML(**parameters)


def test_a_mentee_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.mentee=mpl: no such model.*'mlp'"):
        fedkd.simulate({"name": "fml", "mentee": "mpl"}, **SMALL)
