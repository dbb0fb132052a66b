"""FedPM: masks of frozen random weights."""

import math
from typing import Any

import pytest
import torch
from fedkd.clients.exchange.masks import Draw, Masked, frozen, maskable, split, unmaskable
from fedkd.strategies.fedpm import FedPM
from support import TINY, stack_of
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.models.flat import flatten

SMALL = TINY | {"strategy": "fedpm", "model": "mlp", "evaluate.every": 100}
MASKS = torch.tensor([[1.0], [1.0], [0.0]])


def test_the_mean_mask_by_hand() -> None:
    theta = FedPM().fuse(stack_of(MASKS, kind="masks"))
    torch.testing.assert_close(theta, torch.tensor([0.663333]), atol=1e-6, rtol=0)
    torch.testing.assert_close(theta.logit(), torch.tensor([0.678184]), atol=1e-5, rtol=0)
    bare = FedPM(clip=1e-9).fuse(stack_of(MASKS, kind="masks"))
    torch.testing.assert_close(bare.logit(), torch.tensor([math.log(2)]))


def test_unanimity_is_not_for_ever() -> None:
    same = FedPM().fuse(stack_of(torch.tensor([[1.0, 0.0]] * 3), kind="masks"))
    assert same.logit().isfinite().all()


def test_entropy_is_in_bits() -> None:
    masks = torch.zeros(1, 10)
    masks[0, 0] = 1
    entropy = FedPM().round_extras(stack_of(masks, kind="masks"))["entropy"]
    torch.testing.assert_close(entropy.float(), torch.tensor([0.468996]))


def test_the_gradient_through_a_draw_is_p_times_that_by_the_mask() -> None:
    scores = torch.zeros(1, requires_grad=True)
    Draw.apply(scores, torch.tensor([0.3])).sum().backward()
    assert scores.grad is not None
    assert scores.grad.item() == pytest.approx(0.125)


def test_a_loop_trains_scores_alone_and_weights_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    before = flatten(model)
    weights = frozen(model, 1)
    net = Masked(model, weights, torch.zeros(len(weights)), 2.0, torch.Generator().manual_seed(0))
    (only,) = net.parameters()
    net(torch.randn(5, 4)).sum().backward()
    assert only.grad is not None
    assert only.grad.abs().sum() > 0
    assert torch.equal(flatten(model), before)
    assert torch.equal(net.theta, torch.full_like(weights, 0.5))


def test_frozen_weights_are_the_same_whoever_makes_them() -> None:
    one, other = nn.Linear(9, 2), nn.Linear(9, 2)
    assert torch.equal(frozen(one, 3), frozen(other, 3))
    assert not torch.equal(frozen(one, 3), frozen(other, 4))
    assert set(split(one, frozen(one, 3))) == set(maskable(one)) == {"weight", "bias"}


def test_what_masks_cannot_carry_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"fedpm shares masks.*ResNet8 keeps statistics of batches"
    ):
        fedkd.simulate(**SMALL | {"model": "resnet8"})
    with pytest.raises(ConfigError, match="fedpm"):
        fedkd.simulate(**SMALL | {"model": ["mlp", "lenet5"]})
    embedded = nn.Sequential(nn.Linear(2, 2))
    embedded.register_parameter("place", nn.Parameter(torch.randn(3)))
    assert "place" in str(unmaskable(embedded))


def test_a_mask_is_a_bit_a_parameter() -> None:
    result = fedkd.simulate(**SMALL)
    size = sum(p.numel() for p in maskable(result.model(0)).values())
    uploads = TINY["clients"] * TINY["rounds"]
    share = result.summary["bytes_up"] / uploads / (size / 8)
    assert 1 <= share < 1.5  # headers


def models(result: Any) -> list[torch.Tensor]:
    return [flatten(result.model(client)) for client in range(TINY["clients"])]


def test_all_clients_have_the_servers_mask() -> None:
    first, *others = models(fedkd.simulate(**SMALL))
    assert all(torch.equal(first, other) for other in others)


def test_sums_of_masks_are_exact_behind_masks() -> None:
    plain, masked = (
        fedkd.simulate(**SMALL | {"rounds": 1, "secure.aggregation": on}) for on in (False, True)
    )
    for one, other in zip(models(plain), models(masked), strict=True):
        assert torch.equal(one, other)
    assert masked.summary["rejected"] == 0


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"privacy": "gaussian", "privacy.epsilon": 1}, "soft_labels or logits"),
        ({"privacy": "dp_sgd", "privacy.epsilon": 1}, "trains in its own way"),
        ({"attack": "lma"}, "masks"),
        ({"compress": "topk"}, "masks"),
    ],
)
def test_what_does_not_go_with_masks_is_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        fedkd.simulate(**SMALL | keys)


def test_memory_of_several_rounds_by_hand() -> None:
    strategy = FedPM(clip=1e-9, reset=2)
    strategy.state |= {"ones": torch.tensor([3.0]), "masks": torch.tensor(3.0)}
    torch.testing.assert_close(strategy.fuse(stack_of(MASKS, kind="masks")), torch.tensor([5 / 6]))


def test_partial_participation_and_resume(tmp_path: Any) -> None:
    settings = SMALL | {"fraction": 0.6, "strategy.reset": 2}
    whole = fedkd.simulate(**settings | {"rounds": 3})
    fedkd.simulate(run_dir=str(tmp_path), **settings | {"rounds": 1})
    again = fedkd.resume(tmp_path, rounds=3)
    assert again.summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("bad", [{"clip": 0.5}, {"clip": 0.0}, {"reset": 0}, {"gain": 0.0}])
def test_parameters_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        fedkd.simulate(**SMALL | {f"strategy.{key}": value for key, value in bad.items()})
