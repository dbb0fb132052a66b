"""Models that normalise over a batch: a single sample is refused by name, or passed over."""

from typing import Any

import pytest
from support import TINY
from torch import nn

from fedkd import ConfigError, simulate


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("fit.batch_size", {}),
        ("distil.batch_size", {}),
        ("transfer.size", {}),
        ("transfer.per_round", {}),
        ("model", {"data.samples_per_client": 1}),
    ],
)
def test_single_samples_are_refused_by_name(key: str, more: dict[str, Any]) -> None:
    given = more or {key: 1}
    with pytest.raises(ConfigError, match="single sample") as refused:
        simulate("fedmd", model=net, **TINY | given)
    assert refused.value.key == key


@pytest.mark.parametrize("method", ["prockd", "selective_fd"])
def test_a_teacher_with_one_row_left_loses_no_client(method: str) -> None:
    more = {"transfer.size": 2, "rounds": 3, "data.alpha": 0.3}
    parameters = {"trust": 0.9, "absent": False} if method == "prockd" else {}
    result = simulate({"name": method, **parameters}, model=net, **TINY | more)
    assert result.summary["rejected"] == 0
