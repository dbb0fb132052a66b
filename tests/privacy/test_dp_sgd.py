"""DP-SGD through Opacus: steps worked out by hand, noise as stated, models refused."""

import copy

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange import Exchange, SoftLabels
from fedkd.clients.exchange.class_logits import ClassLogits
from fedkd.clients.exchange.discriminated_logits import DiscriminatedLogits
from fedkd.clients.exchange.head import Head
from fedkd.clients.exchange.quantised_labels import QuantisedLabels
from fedkd.clients.exchange.selected_labels import SelectedLabels
from fedkd.clients.privacy.base import Facts
from fedkd.clients.privacy.dp_sgd import DPSGD
from fedkd.clients.standard import Standard
from scipy import stats
from torch import nn

from fedkd.errors import ConfigError
from fedkd.models.lenet5 import LeNet5
from fedkd.models.resnet8 import ResNet8
from fedkd.privacy.accounting import Release

FIT = {"epochs": 1, "batch_size": 100, "lr": 0.5, "momentum": 0.0, "optimizer": "sgd"}
DISTIL = {"epochs": 1, "batch_size": 8, "lr": None, "temperature": 1.0}


def client(samples=12, features=5, classes=3, seed=0, model=None):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator)
    y = torch.randint(0, classes, (samples,), generator=generator)
    if model is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
    return Client(0, model, x, y, torch.Generator().manual_seed(seed + 1))


def loop(fit=None, **mechanism):
    inner = Standard(fit=FIT | (fit or {}), distil=DISTIL, device="cpu")
    return DPSGD(**mechanism).loop(inner)


def test_without_noise_and_clipping_it_is_plain_gradient_descent():
    own = client()
    plain = copy.deepcopy(own.model)
    loop(clip=1e6, noise_multiplier=1e-12).fit([own])
    nn.functional.cross_entropy(plain(own.x), own.y).backward()
    for parameter, now in zip(plain.parameters(), own.model.parameters(), strict=True):
        assert torch.allclose(parameter - 0.5 * parameter.grad, now, atol=1e-6)


def test_every_sample_is_clipped_by_itself():
    own, clip = client(), 0.3
    before = copy.deepcopy(own.model)
    total = [torch.zeros_like(p) for p in before.parameters()]
    for x, y in zip(own.x, own.y, strict=True):
        before.zero_grad()
        nn.functional.cross_entropy(before(x[None]), y[None]).backward()
        norm = torch.cat([p.grad.flatten() for p in before.parameters()]).norm()
        for sum_, p in zip(total, before.parameters(), strict=True):
            sum_.add_(p.grad * min(1.0, clip / (norm.item() + 1e-6)))
    loop(clip=clip, noise_multiplier=1e-12).fit([own])
    for sum_, p, now in zip(total, before.parameters(), own.model.parameters(), strict=True):
        assert torch.allclose(p - 0.5 * sum_ / len(own.y), now, atol=1e-6)


def test_the_noise_has_the_stated_scale():
    clip, multiplier = 1e-4, 3.0
    own = client(features=20_000, classes=2)
    before = copy.deepcopy(own.model)
    loop(clip=clip, noise_multiplier=multiplier).fit([own])
    moved = (before[1].weight - own.model[1].weight).detach().flatten().double()
    scale = FIT["lr"] * multiplier * clip / len(own.y)
    assert stats.kstest((moved / scale).numpy(), stats.norm.cdf).pvalue > 0.01


def test_a_batch_without_samples_is_a_step_on_noise_alone():
    """Two steps with one of two samples, expected: now and then both are without any."""
    for seed in range(100):
        own = client(samples=2, features=1000, seed=seed)
        before = copy.deepcopy(own.model)
        (told,) = loop({"batch_size": 1}, noise_multiplier=1.0).fit([own])
        if told["loss_fit"] == 0:  # of no step
            break
    else:
        pytest.fail("no fit without a sample")
    moved = (before[1].weight - own.model[1].weight).detach()
    assert moved.std().item() == pytest.approx(0.5 * 2**0.5, rel=0.1)


def test_batches_are_poisson_samples():
    own = client(samples=1000, features=2)
    private = loop({"batch_size": 100, "epochs": 3}, noise_multiplier=1.0)
    seen, loss = [], private.inner.private_loss
    private.inner.private_loss = lambda one, z, y: (seen.append(len(y)), loss(one, z, y))[1]
    private.fit([own])
    sizes = torch.tensor(seen).float()
    assert len(seen) == 30
    assert sizes.mean().item() == pytest.approx(100, abs=10)
    assert 5 < sizes.std().item() < 15  # a binomial's is 9.5
    assert private.mechanism.cost(Facts(1000, 0, private.fit_config, True, 1000), None) == {
        Release("gaussian", 1.0, 0.1): 30
    }


def test_a_fit_repeats_and_leaves_no_trace():
    models = []
    for _ in range(2):
        own = client()
        loop({"momentum": 0.9, "batch_size": 4, "epochs": 3}, noise_multiplier=1.0).fit([own])
        models.append(own.model)
    for one, two in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, two)
        assert getattr(one, "grad_sample", None) is None
        assert getattr(one, "summed_grad", None) is None
    assert not models[0][1]._forward_hooks
    other = client()
    loop(noise_multiplier=1.0, secure_rng=True).fit([other])
    again = client()
    loop(noise_multiplier=1.0, secure_rng=True).fit([again])
    assert not torch.equal(other.model[1].weight, again.model[1].weight)


def test_fedprox_pulls_without_a_sample():
    own = client()
    own.options["proximal-mu"] = 0.5
    start = copy.deepcopy(own.model)
    fit = {"epochs": 2, "lr": 1.0}
    loop(fit, clip=1e-9, noise_multiplier=1e3).fit([own])  # noise of 1e-7 and no signal
    assert torch.allclose(start[1].weight, own.model[1].weight, atol=1e-5)


def test_it_trains_and_distils():
    own = client(samples=60, model=nn.Sequential(nn.Flatten(), nn.Linear(5, 3)))
    own.y = own.x[:, :3].argmax(dim=1)
    private = loop({"epochs": 30, "batch_size": 20}, noise_multiplier=0.5)
    private.fit([own])
    guess = private.predict([own], own.x)[0].argmax(dim=1)
    assert (guess == own.y).double().mean() > 0.8


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (LeNet5((1, 28, 28), 10), None),
        (ResNet8((3, 32, 32), 10), "cannot train it: BatchNorm cannot support training"),
    ],
)
def test_models_are_validated_in_opacus_words(model, found):
    problem = DPSGD(noise_multiplier=1.0).refusal(SoftLabels(), {"it": model})
    assert (problem is None) if found is None else found in problem


def test_only_what_is_computed_from_the_model_is_protected():
    from_model = (SoftLabels, QuantisedLabels, Head)
    beyond = (ClassLogits, SelectedLabels, DiscriminatedLogits)
    assert all(exchange.from_model for exchange in from_model)
    assert not any(exchange.from_model for exchange in beyond)

    class Counting:
        def upload(self, phase):
            return phase.client.y

    class Mixed(Counting, SoftLabels):
        pass

    assert not Mixed.from_model
    assert Exchange.from_model
    problem = DPSGD(noise_multiplier=1.0).refusal(ClassLogits(), {})
    assert "uploads more about private data" in problem


def test_a_loop_that_fits_in_its_own_way_is_refused():
    class Mine(Standard):
        def fit(self, clients):
            return []

    with pytest.raises(ConfigError, match="fits in its own way"):
        DPSGD(noise_multiplier=1.0).loop(Mine(fit=FIT, distil=DISTIL, device="cpu"))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["clip", "noise_multiplier"])
def test_clip_and_noise_must_be_positive(key, value):
    with pytest.raises(ValueError, match=f"{key}=.* must be greater than 0"):
        DPSGD(**{key: value})
