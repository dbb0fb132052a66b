"""Clients of active learning: pools, augmentation, carried optimisers, the local update."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from fedkd.clients.active import ActiveLearner
from fedkd.clients.augment import PAD, flip_crop
from fedkd.clients.base import Client
from fedkd.clients.optimisers import PREFIX, make_optimizer
from fedkd.clients.phase import Phase
from fedkd.clients.pools import LABELS, Pools, initial_labels
from fedkd.clients.standard import Standard
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

FIT = {"epochs": 1, "batch_size": 4, "lr": 0.1, "momentum": 0.9, "optimizer": "sgd"}


def loop(**fit: Any) -> Standard:
    return Standard(fit=FIT | fit, distil={"lr": None}, device="cpu")


def client(seed: int = 0, **more: Any) -> Client:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(12, 3, generator=generator), torch.arange(12) % 2
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(0.1)
        model.bias.zero_()
    return Client(0, model, x, y, torch.Generator().manual_seed(1), **more)


@given(samples=st.integers(1, 60), share=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_the_first_labels_are_true_and_as_many_as_they_should_be(
    samples: int, share: float, seed: int
) -> None:
    truth = torch.arange(samples) % 7
    labels = initial_labels(truth, share, seed)
    pools = Pools(torch.zeros(samples, 2), labels)
    assert len(pools.labelled) == math.ceil(share * samples)
    assert torch.equal(labels[pools.labelled], truth[pools.labelled])
    both = torch.cat([pools.labelled, pools.unlabelled]).sort().values
    assert torch.equal(both, torch.arange(samples))
    assert pools.counts(7).sum() == len(pools.labelled)


def test_a_carried_optimiser_goes_on_where_it_was() -> None:
    """Two fits of one epoch with the state carried are one fit of two epochs."""
    whole, parts = client(), client()
    loop(epochs=2).fit([whole])
    parts.carried = {}
    for _ in range(2):
        loop().fit([parts])
    assert {name for name in parts.carried if name.startswith(PREFIX)} == {
        f"{PREFIX}0.momentum_buffer",
        f"{PREFIX}1.momentum_buffer",
    }
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)
    fresh = client()
    for _ in range(2):
        loop().fit([fresh])
    assert not torch.equal(next(fresh.model.parameters()), next(whole.model.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_any_optimiser_is_carried(optimizer: str) -> None:
    whole, parts = client(), client(carried={})
    loop(epochs=2, optimizer=optimizer).fit([whole])
    for _ in range(2):
        loop(optimizer=optimizer).fit([parts])
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_schedule_scales_the_learning_rate_epoch_by_epoch() -> None:
    still, moved = (
        client(schedule=lambda epoch: 0.0),
        client(schedule=lambda epoch: float(not epoch)),
    )
    before = [p.clone() for p in still.model.parameters()]
    loop(epochs=2, momentum=0.0).fit([still])
    assert all(torch.equal(a, b) for a, b in zip(before, still.model.parameters(), strict=True))
    one = client()
    loop(epochs=2, momentum=0.0).fit([moved])
    loop(epochs=1, momentum=0.0).fit([one])
    for a, b in zip(one.model.parameters(), moved.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_prior_changes_the_loss_of_private_batches_only() -> None:
    prior = torch.tensor([0.0, -torch.inf])
    masked = client(log_prior=prior)
    masked.y = torch.zeros_like(masked.y)
    numbers = loop().fit([masked])[0]
    assert numbers["loss_fit"] == 0  # the only class there is
    assert torch.equal(masked.model.weight, client().model.weight)


def test_weight_decay_shrinks_the_weights() -> None:
    plain, decayed = client(), client()
    loop(epochs=5).fit([plain])
    loop(epochs=5, weight_decay=0.5).fit([decayed])
    assert decayed.model.weight.norm() < plain.model.weight.norm()


def test_augmented_images_are_shifted_or_flipped_copies() -> None:
    x = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8).repeat(200, 1, 1, 1)
    made = flip_crop(x, torch.Generator().manual_seed(0))
    assert made.shape == x.shape
    padded = nn.functional.pad(x[:1], (PAD,) * 4)
    allowed = {
        tuple(image[0, 0, top : top + 8, left : left + 8].flatten().tolist())
        for image in (padded, padded.flip(-1))
        for top in range(2 * PAD + 1)
        for left in range(2 * PAD + 1)
    }
    found = {tuple(image.flatten().tolist()) for image in made}
    assert found <= allowed
    assert len(found) > 50


def test_augmentation_is_a_function_of_its_generator() -> None:
    x = torch.randn(5, 3, 8, 8)
    one, two = (flip_crop(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, flip_crop(x, torch.Generator().manual_seed(4)))


def compensation_of(x: torch.Tensor, device: str = "cpu", **fit: Any) -> list[torch.Tensor]:
    """Return the value of a compensating loss, and what the teacher saw for it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3)).to(device)
    seen: list[torch.Tensor] = []

    def teacher(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch)
        return model(batch).flip(-1)

    class Once(Standard):
        def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
            loss = clients[0].extra_loss
            assert loss is not None
            seen.append(loss(torch.zeros(4, 3, device=device), torch.zeros(4, device=device)))
            clients[0].model.to_empty(device="cpu")  # what it weighs does not matter
            return [{}]

    labels = torch.tensor([0, 1] + [-1] * (len(x) - 2))
    truth = labels.clamp_min(0)
    phase = SimpleNamespace(
        client=Client(0, model, x, truth, torch.Generator().manual_seed(0)),
        loop=Once(fit=FIT | fit, distil={"lr": None}, device=device),
        bench=SimpleNamespace(seed_of=lambda *stream: 0, private=lambda index: (x, truth)),
        memory=SimpleNamespace(tensors={LABELS: labels}),
        index=0,
        round=2,
        classes=3,
        options={},
    )
    ActiveLearner(persist=False, balanced=False).update(
        cast(Phase, phase), cast(nn.Module, teacher)
    )
    return seen[::-1]


def test_unlabelled_images_are_augmented_like_labelled_ones() -> None:
    """As published: the same stream of flips and crops for both."""
    x = torch.ones(30, 1, 8, 8)
    plain, cropped = (compensation_of(x, augment=augment)[1] for augment in (False, True))
    torch.testing.assert_close(plain, torch.ones_like(plain))  # mixtures of ones
    assert cropped.shape == plain.shape
    assert (cropped < 0.99).any()  # the padding is in view


def test_the_compensation_computes_where_the_model_is() -> None:
    """The meta device stands for a GPU: it refuses tensors of another device all the same."""
    value, seen = compensation_of(torch.ones(30, 1, 8, 8), device="meta", augment=True)
    assert value.device.type == seen.device.type == "meta"


def test_a_carried_state_moves_to_where_the_model_is() -> None:
    model = nn.Linear(2, 1).to("meta")
    optimizer = make_optimizer(model, FIT, {f"{PREFIX}0.momentum_buffer": torch.ones(1, 2)})
    buffer = optimizer.state[model.weight]["momentum_buffer"]
    assert buffer.device.type == "meta"
