"""Every zoo model on every image size we support, with the published sizes where there are any."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from support import PICTURES
from torch import nn

from fedkd.errors import ConfigError
from fedkd.models import ZOO, build, check_model, deal, model_name
from fedkd.models.fedmd import FedMD2, FedMD3
from fedkd.rng import scoped

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 17, 40)]
CNNS = sorted(set(PICTURES) - {"mlp"})


def elements(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.state_dict().values())


@pytest.mark.parametrize("shape", IMAGES, ids=str)
@pytest.mark.parametrize("name", PICTURES)
def test_runs_and_learns_on_every_image_size(name: str, shape: tuple[int, ...]) -> None:
    model = check_model(name, shape, 7).train()
    model(torch.randn(2, *shape)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("shape", IMAGES, ids=str)
@pytest.mark.parametrize("name", PICTURES)
def test_trains_on_a_batch_of_one(name: str, shape: tuple[int, ...]) -> None:
    """The last batch of an epoch may hold one sample, which batch normalisation can refuse."""
    assert build(name, shape, 7).train()(torch.randn(1, *shape)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("mlp", (1, 28, 28), 159_010),
        ("mlp", (64,), 15_010),
        ("lenet5", (1, 28, 28), 44_426),
        ("lenet5", (3, 32, 32), 62_006),
        ("resnet8", (3, 32, 32), 78_529),
    ],
)
def test_published_sizes(name: str, shape: tuple[int, ...], count: int) -> None:
    assert elements(build(name, shape, 10)) == count


def test_resnet8_parameters() -> None:
    model = build("resnet8", (3, 32, 32), 10)
    assert sum(p.numel() for p in model.parameters()) == 77_946
    hundred = build("resnet8", (3, 32, 32), 100)
    assert sum(p.numel() for p in hundred.parameters()) == 83_796


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_fedmd_feature_sizes_are_those_of_the_original(shape: tuple[int, ...]) -> None:
    side = shape[-1]
    assert FedMD2(shape, 10)[-1].in_features == 256 * ((side - 3) // 2 + 1) ** 2
    assert FedMD3(shape, 10)[-1].in_features == 256 * ((side // 4 - 3) // 2 + 1) ** 2
    assert FedMD2(shape, 10)[-1].bias is None


def test_fedmd_first_pooling_averages_what_lies_inside() -> None:
    pool = FedMD2((1, 8, 8), 10)[4]
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert torch.equal(pool(x), torch.tensor([[[[4.0, 5.0], [6.0, 7.0]]]]))


@pytest.mark.parametrize("name", CNNS)
def test_cnns_refuse_tables_and_tiny_images(name: str) -> None:
    with pytest.raises(ConfigError, match=r"needs images .* shape \(64,\); model=mlp"):
        build(name, (64,), 10)
    with pytest.raises(ConfigError, match=r"these are 3 x 9"):
        build(name, (1, 3, 9), 10)


def test_same_seed_same_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        with scoped(seed):
            states.append(build("lenet5", (1, 8, 8), 10).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["0.weight"], states[2]["0.weight"])


def test_check_leaves_the_global_generator_alone() -> None:
    with scoped(3):
        expected = torch.rand(1)
    with scoped(3):
        check_model("fedmd_cnn2", (1, 8, 8), 10)
        assert torch.rand(1) == expected


def in_shape_and_num_classes(in_shape: tuple[int, ...], *, num_classes: int) -> nn.Module:
    return nn.Linear(in_shape[0], num_classes)


def input_shape_alone(input_shape: tuple[int, ...], width: int = 10) -> nn.Module:
    return nn.Linear(input_shape[0], width)


def anything(**options: int) -> nn.Module:
    assert not options
    return nn.Linear(64, 10)


@pytest.mark.parametrize(
    "factory",
    [
        in_shape_and_num_classes,
        input_shape_alone,
        anything,
        lambda: nn.Linear(64, 10),
        partial(nn.Linear, 64, 10),
        partial(ZOO["mlp"], hidden=5),
    ],
)
def test_callables_get_what_they_name(factory: Callable[..., nn.Module]) -> None:
    assert check_model(factory, (64,), 10)(torch.zeros(3, 64)).shape == (3, 10)


class Pair(nn.Linear):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(x), x


class Failing(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("two\nlines")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lenet", r"^model=lenet: no such model.*did you mean 'lenet5'\?"),
        (7, "must be a name, FILE.py:Class or a callable, not int"),
        (lambda: "mlp", "must return a torch.nn.Module, not str"),
        (lambda width: nn.Linear(width, 10), "cannot be built: TypeError: .*width"),
        (nn.Linear(64, 10), "is a built model; give its class"),
        (lambda: nn.Linear(64, 9), r"shape \(2, 10\) .* returned shape \(2, 9\)"),
        (lambda: nn.Linear(8, 10), r"fails on 2 samples of shape \(64,\): RuntimeError"),
        (lambda: Pair(64, 10), "but returned a tuple"),
        (lambda: Failing(64, 10), "RuntimeError: two lines"),
        (lambda: nn.Sequential(nn.Linear(64, 10), nn.Threshold(9e9, float("nan"))), "finite"),
        (lambda: nn.Linear(64, 10).requires_grad_(False), "has no parameters to train"),
    ],
)
def test_unusable_models_are_refused_in_one_line(spec: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_model(spec, (64,), 10)
    assert caught.value.key == "model"
    assert "\n" not in str(caught.value)


def test_model_from_a_file(tmp_path: object) -> None:
    source = "from torch import nn\nclass Net(nn.Linear):\n"
    source += (
        "    def __init__(self, shape, classes):\n        super().__init__(shape[0], classes)\n"
    )
    path = f"{tmp_path}/mynet.py"
    with open(path, "w") as file:
        file.write(source)
    assert check_model(f"{path}:Net", (64,), 10).out_features == 10
    with pytest.raises(ConfigError, match="model="):
        build(f"{path}:Nett", (64,), 10)
    assert isinstance(build("torch.nn:Identity", (64,), 10), nn.Identity)


def test_deal() -> None:
    assert deal("mlp", 2) == ["mlp", "mlp"]
    assert deal(("mlp", nn.Linear, "lenet5"), 4) == ["mlp", nn.Linear, "lenet5", "mlp"]
    with pytest.raises(ConfigError, match="at least one"):
        deal([], 2)


def test_names() -> None:
    assert [model_name(s) for s in ("mlp", FedMD3, partial(FedMD3, dropout=0.3))] == [
        "mlp",
        "FedMD3",
        "FedMD3(dropout=0.3)",
    ]
