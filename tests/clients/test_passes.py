"""What is only measured is predicted as is quickest, and comes out the same."""

import copy
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.passes import CONVOLVED, EXACT, Passes
from fedkd.clients.phase import Phase
from fedkd.clients.standard import Standard
from support import PICTURES
from torch import nn

from fedkd.models import build
from fedkd.rng import Globals, scoped
from fedkd.tasks.classification import Classification

SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32), "small": (1, 8, 8)}


def made(spec, shape=(3, 8, 8)):
    with scoped(1):
        return build(spec, shape, 10).eval(), torch.rand(150, *shape)


class Convolved(nn.Module):
    """A convolution, and something of a user's own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3)

    def forward(self, x):
        return self.own(self.conv(x)).mean(dim=(2, 3))

    def own(self, x):
        return x


class Viewing(Convolved):
    """Cannot take samples that lie channels last."""

    def own(self, x):
        return x.view(len(x), -1).view(x.shape)


class Strided(Convolved):
    """Reads its samples as they lie in memory."""

    def own(self, x):
        return x.as_strided(x.shape, torch.empty(x.shape).stride()).contiguous()


class Counting(Convolved):
    """Keeps how often it was asked."""

    def __init__(self):
        super().__init__()
        self.register_buffer("asked", torch.zeros(()))

    def own(self, x):
        self.asked += 1
        return x


class Drawing(Convolved):
    def own(self, x):
        return nn.functional.dropout(x)


class Coupled(Convolved):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(10, track_running_stats=False)

    def own(self, x):
        return self.norm(x)


class Squeezing(Convolved):
    """Loses the batch where it is of one sample."""

    def forward(self, x):
        return super().forward(x).squeeze()


class Uncopied(Convolved):
    def __deepcopy__(self, memo):
        raise RuntimeError("there is only one of me")


class Leaving(Convolved):
    def own(self, x):
        if x.is_contiguous(memory_format=torch.channels_last):
            raise SystemExit
        return x


def hooked():
    model = Convolved()
    model.conv.register_forward_hook(lambda module, inputs, output: output + 1)
    return model


OWN = [Viewing, Strided, Counting, Drawing, Coupled, Squeezing, Uncopied, Leaving, hooked]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", PICTURES)
def test_the_zoo_has_the_same_classes_either_way(name, shape):
    model, x = made(name, shape)
    way = Passes().quickest(model, x)
    assert way == (EXACT if name == "mlp" else CONVOLVED)
    with torch.no_grad():
        quick, exact = way.logits(model, x), EXACT.logits(model, x)
    torch.testing.assert_close(quick, exact, rtol=1e-4, atol=1e-5)
    assert torch.equal(quick.argmax(dim=1), exact.argmax(dim=1))


def test_accuracies_agree_within_one_sample_in_ten_thousand():
    model, _ = made("lenet5", (1, 28, 28))
    with scoped(2), torch.no_grad():
        x = torch.rand(10_000, 1, 28, 28)
        quick, exact = (way.logits(model, x).argmax(dim=1) for way in (CONVOLVED, EXACT))
    assert (quick != exact).sum() <= 1


@pytest.mark.parametrize("spec", OWN)
def test_other_models_are_predicted_exactly(spec):
    model, x = made(spec)
    with torch.no_grad(), scoped(3):
        expected = EXACT.logits(copy.copy(model), x) if spec is not Counting else None
    passes, before, drawn = Passes(), copy.copy(model.state_dict()), Globals.now()
    kept = {name: value.clone() for name, value in before.items()}
    assert passes.quickest(model, x) is EXACT
    assert Globals.now().same(drawn)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    loop = Standard(fit={}, distil={}, device="cpu")
    client = Client(0, model, x, x, torch.Generator(), exact=False)
    with scoped(3):
        found = loop.predict([client], x)[0]
    assert expected is None or torch.equal(found, expected)


def test_the_model_stays_as_it_is():
    model, x = made("resnet8")
    before = {name: (value, value.stride(), value.clone()) for name, value in named(model)}
    client = Client(0, model, x, x, torch.Generator(), exact=False)
    Standard(fit={}, distil={}, device="cpu").predict([client], x)
    for name, value in named(model):
        same, stride, old = before[name]
        assert value is same
        assert value.stride() == stride
        assert torch.equal(value, old)


def named(model):
    return [*model.named_parameters(), *model.named_buffers()]


def test_samples_that_are_no_images_and_none_at_all():
    flat = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 10, 8), nn.Flatten())
    assert Passes().quickest(flat, torch.ones(5, 64)) is EXACT
    model, x = made(Convolved)
    assert Passes().quickest(model, x[:0]) == Passes().quickest(model, x[:1]) == CONVOLVED
    assert len(CONVOLVED.logits(model, x[:0])) == 0


def test_an_architecture_is_tried_once_whatever_its_weights():
    model, x = made(Convolved)
    other = copy.deepcopy(model)
    passes = Passes()
    with torch.no_grad():
        other.conv.weight.fill_(float("nan"))  # diverged
    assert passes.quickest(other, x) == passes.quickest(model, x) == CONVOLVED
    assert len(passes.known) == 1


def test_what_is_uploaded_is_exact_also_after_a_failure():
    seen = []

    def predict(phase, x):
        seen.append(phase.client.exact)
        raise RuntimeError("no")

    parts = SimpleNamespace(exchange=SimpleNamespace(predict=predict), task=Classification())
    client = Client(0, nn.Flatten(), torch.ones(1), torch.ones(1), torch.Generator())
    phase = SimpleNamespace(client=client, tools=SimpleNamespace(parts=parts))
    with pytest.raises(RuntimeError, match="no"):
        Phase.measured(phase, torch.ones(1), torch.ones(1))
    assert (seen, client.exact) == ([False], True)
