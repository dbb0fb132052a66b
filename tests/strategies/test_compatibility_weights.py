"""DisWOT's score as fusion weights: by hand, whoever takes part, on every engine."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fedkd.strategies.compatibility import Compatibility
from fedkd.strategies.mixtures import MixingFusion
from support import MIXED, TINY, stack_of
from torch import Tensor, nn

from fedkd import resume, simulate
from fedkd.errors import ConfigError
from fedkd.models.compatibility import relations
from fedkd.report.reader import Run

SETTINGS: dict[str, Any] = {**TINY, "clients": 6, "evaluate.every": 100}
THREE = ["mlp", "lenet5", {"name": "mlp", "hidden": 16}]


def run(beta: float = 20.0, **more: Any) -> Any:
    node = {"name": "compatibility", "beta": beta}
    return simulate(node, **SETTINGS | {"model": THREE} | more)


def weighed(score: Tensor, kinds: list[int], clients: list[int], beta: float) -> Tensor:
    strategy = Compatibility(beta=beta)
    strategy.state = {"scores": score, "architecture": torch.tensor(kinds)}
    values = torch.full((len(clients), 2, 2), 0.5)
    return strategy.weights(stack_of(values, clients))


def test_three_clients_of_two_architectures_by_hand() -> None:
    """F = I and F = (1, 0), (1, 1) have -0.199233 over 2 samples: e^(-0.398466 * 5) = 0.136377."""
    score = relations([torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 1.0]])])
    found = weighed(score, [0, 1, 0], [0, 1, 2], 5.0)
    other = 0.136377
    same, alone = 1 / (2 + other), 1 / (1 + 2 * other)
    expected = [
        [same, other * same, same],
        [other * alone, alone, other * alone],
        [same, other * same, same],
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-6, rtol=0)


def test_clients_are_known_by_their_index_whoever_takes_part() -> None:
    torch.manual_seed(0)
    score, kinds = -torch.rand(3, 3), [0, 1, 2, 0, 1]
    score = (score + score.T).fill_diagonal_(0)
    whole = weighed(score, kinds, [0, 1, 2, 3, 4], 2.0)
    some = [1, 3, 4]
    part = whole[some][:, some]
    torch.testing.assert_close(weighed(score, kinds, some, 2.0), part / part.sum(1, keepdim=True))
    order = [2, 0, 1]
    renamed = score[order][:, order]
    back = [order.index(kind) for kind in kinds]
    torch.testing.assert_close(weighed(renamed, back, [0, 1, 2, 3, 4], 2.0), whole)
    assert (weighed(score, kinds, [0, 1, 2], 0.0) == 1 / 3).all()
    alone = weighed(score, kinds, [0, 1, 2, 3, 4], 1e6)
    assert alone[0].tolist() == [0.5, 0.0, 0.0, 0.5, 0.0]


def test_clients_learn_most_from_their_own_architecture() -> None:
    result = run()
    kept = Run.load(result.run_dir).weights()
    assert kept is not None
    found, kinds = torch.from_numpy(kept[1]), torch.arange(6) % 3
    same = kinds[:, None] == kinds
    least = found.masked_fill(~same, 1.0).amin(dim=1)
    assert (least > found.masked_fill(same, 0.0).amax(dim=1)).all()
    assert (found[0].unique() > 0).sum() == 3  # others are told apart, too


def test_one_architecture_is_the_plain_mean() -> None:
    alike = {"model": "lenet5"}
    plain = simulate({"name": "fedmd", "exchange": "soft_labels"}, **SETTINGS | alike)
    own = run(**alike)
    for name, value in plain.model(1).state_dict().items():
        torch.testing.assert_close(own.model(1).state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert "all clients have one architecture" in (own.run_dir / "log.txt").read_text()


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    more = {"fraction": 0.5, "transfer.per_round": 20}
    whole = run(**more, rounds=3)
    run(**more, rounds=1, run_dir=str(tmp_path / "run"))
    assert resume(tmp_path / "run", rounds=3).summary["digest"] == whole.summary["digest"]


@pytest.mark.slow
def test_every_engine_agrees() -> None:
    digests = {
        run(fraction=0.5, engine=one).summary["digest"]
        for one in ("inline", {"name": "ray", "actors": 2})
    }
    assert len(digests) == 1


class Headless(nn.Module):
    """Has no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(1, 10, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x).flatten(1)


def test_a_model_without_a_head_is_refused_by_name() -> None:
    words = r"strategy=compatibility: compares what goes into heads, and .*Headless has no linear"
    with pytest.raises(ConfigError, match=words):
        run(model=["mlp", Headless])
    with pytest.raises(ConfigError, match=r"strategy.beta=-1.0: must be at least 0"):
        run(beta=-1.0)


@pytest.mark.parametrize("exchange", ["soft_labels", "logits"])
def test_what_is_exchanged_is_mixed_by_it(exchange: Any) -> None:
    strategy = Compatibility(beta=1.0, exchange=exchange)
    assert isinstance(strategy, MixingFusion)
    result = simulate(strategy, **SETTINGS | {"model": MIXED})
    assert result.summary["rejected"] == 0
    assert strategy.state["architecture"].tolist() == [0, 1, 0, 1, 0, 1]
    score = strategy.state["scores"]
    assert -4 < score[0, 1] < 0
    assert math.isclose(score[0, 1], score[1, 0])
