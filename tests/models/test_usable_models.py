"""Models that clients would share, or that no checkpoint keeps, are refused before the run."""

import copy
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fedkd
from fedkd.config.overrides import compose
from fedkd.errors import ConfigError
from fedkd.models import check_model
from fedkd.run.estimate import plan

TINY: dict[str, Any] = {"clients": 3, "rounds": 1, "engine": "inline", "transfer.size": 30}
NET = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
SHARED_PART = nn.Linear(64, 8)
SHARED_BUFFER = torch.ones(64)
SHARED_WEIGHT = nn.Parameter(torch.ones(10, 8))


@lru_cache
def cached() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def with_common_part() -> nn.Module:
    """Have an own head on a body that all have."""
    return nn.Sequential(nn.Flatten(), SHARED_PART, nn.Linear(8, 10))


class CommonBuffer(nn.Module):
    """Scale by the same tensor as all others."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.register_buffer("scale", SHARED_BUFFER, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1) * self.scale)


class ClassWide(nn.Module):
    """Have a parameter that belongs to the class, seen through a view."""

    weight = nn.Parameter(torch.ones(12, 64))

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Parameter(ClassWide.weight.detach()[:10])

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.head.T


@pytest.mark.parametrize(
    ("factory", "tensor"),
    [
        (lambda: NET, "1.weight"),
        (cached, "1.weight"),
        (with_common_part, "1.weight"),
        (CommonBuffer, "scale"),
        (ClassWide, "head"),
    ],
    ids=["one object", "lru_cache", "common part", "common buffer", "view"],
)
@pytest.mark.parametrize("engine", ["inline", "ray", "flower"])
def test_a_factory_whose_models_share_weights_is_refused(
    factory: Callable[[], nn.Module], tensor: str, engine: str
) -> None:
    """Before any engine starts: with two actors clients would share less than in one process."""
    problem = rf"^model=.*clients would share weights, as each call returns the same {tensor}; .*"
    with pytest.raises(ConfigError, match=problem + r"copy\.deepcopy\(\.\.\.\)$"):
        fedkd.simulate("local", model=factory, **TINY | {"engine": engine})


def test_two_factories_of_a_list_that_share_weights_are_refused() -> None:
    def one() -> nn.Module:
        return copy.deepcopy(NET)

    def first() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), COMMON)

    def second() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), copy.deepcopy(COMMON))

    made = []

    def third() -> nn.Module:
        """Build a new one in each call, but the first with a part of another's."""
        made.append(nn.Linear(8, 10))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), made[-1])

    def fourth() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), made.pop(0))

    with pytest.raises(ConfigError, match=r"^model=first: .* each call returns the same 2\.weight"):
        fedkd.simulate("local", model=[one, first, second], **TINY)
    with pytest.raises(ConfigError, match=r"^model=fourth: .* as third has the same 2\.weight"):
        fedkd.simulate("local", model=[third, fourth], **TINY)


COMMON = nn.Linear(8, 10)


def test_what_is_its_own_may_be_given() -> None:
    """A copy, weights tied within a model, one factory named twice."""

    def tied() -> nn.Module:
        first = nn.Linear(64, 64)
        return nn.Sequential(nn.Flatten(), first, first, nn.Linear(64, 10))

    models = [lambda: copy.deepcopy(NET), tied, tied]
    result = fedkd.simulate("local", model=models, **TINY)
    one, two = result.model(1).state_dict(), result.model(2).state_dict()
    assert torch.equal(one["1.weight"], one["2.weight"])
    assert not torch.equal(one["1.weight"], two["1.weight"])


PLUG_IN = """
from functools import lru_cache
from torch import nn

@lru_cache
def cached():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_shared_models_from_a_file_and_at_the_server_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "models.py"
    file.write_text(PLUG_IN)
    spec = f"{file}:cached"
    with pytest.raises(ConfigError, match=r"models.py:cached: clients would share weights"):
        plan(compose([f"model={spec}", "engine=inline"]))  # what --dry-run does
    for strategy in (
        {"name": "fml", "mentee": spec},
        {"name": "feddf"},
        {"name": "cfd", "server_model": spec},
        {"name": "dynamic_logits", "base_model": spec},
    ):
        settings = TINY | ({"model": spec} if len(strategy) == 1 else {})
        with pytest.raises(ConfigError, match="clients would share weights"):
            fedkd.simulate(strategy, **settings)


class Remembers(nn.Linear):
    """Keep something that is no tensor."""

    def __init__(self) -> None:
        super().__init__(64, 10)
        self.calls = {"n": 0}

    def get_extra_state(self) -> Any:
        return self.calls

    def set_extra_state(self, state: Any) -> None:
        self.calls = state

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class RemembersTensor(Remembers):
    """Keep a tensor that is no buffer: a checkpoint would write it and not put it back."""

    def get_extra_state(self) -> Any:
        return torch.tensor(float(self.calls["n"]))


class Typed(nn.Module):
    """Compute in another type of number."""

    def __init__(self, dtype: torch.dtype, buffer: bool = False) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        if buffer:
            self.register_buffer("scale", torch.ones(64, dtype=dtype))
        else:
            self.head.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        own = x.flatten(1).to(self.head.weight.dtype)
        logits = self.head(own)
        return (logits.real if logits.is_complex() else logits).float()


@pytest.mark.filterwarnings("ignore:Complex modules")
@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (Remembers, r"its state has _extra_state, .*register_buffer"),
        (RemembersTensor, r"its state has _extra_state, .*register_buffer"),
        (lambda: Typed(torch.float16), r"head\.weight is of type torch\.float16, .*\.float\(\)"),
        (lambda: Typed(torch.bfloat16), r"head\.weight is of type torch\.bfloat16"),
        (lambda: Typed(torch.complex64), r"head\.weight is of type torch\.complex64"),
        (lambda: Typed(torch.bfloat16, True), r"scale is of type torch\.bfloat16"),
    ],
)
def test_what_no_checkpoint_keeps_is_refused(
    factory: Callable[[], nn.Module], problem: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^model=.*: .*{problem}") as caught:
        fedkd.simulate("local", model=factory, **TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_another_type_are_refused(dtype: torch.dtype) -> None:
    """Float64 ones were only refused by the server, all of them, in the first round."""

    class Cast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1)).to(dtype)

    with pytest.raises(ConfigError, match=r"must return float32 logits, .* \.float\(\)"):
        check_model(lambda: Cast(64, 10), (64,), 10)


def test_float64_weights_may_be_given() -> None:
    result = fedkd.simulate("knfu", model=lambda: Typed(torch.float64), **TINY)
    assert result.summary["rejected"] == 0
    assert result.model(0).head.weight.dtype == torch.float64
