"""ProC-KD: a client's prototypes judge what the teacher says of its classes."""

from typing import Any

import pytest
import torch
from fedkd.clients.exchange.prototype_logits import agreed, prototype_labels
from support import MIXED, TINY

import fedkd
from fedkd.errors import ConfigError
from fedkd.models.flat import flatten

SMALL = TINY | {"strategy": "prockd", "evaluate.every": 100}


def test_prototype_labels_by_hand() -> None:
    """d^2 = 1, 4, 9."""
    means, has = torch.tensor([[1.0], [2.0], [3.0]]), torch.ones(3).bool()
    found = prototype_labels(torch.zeros(1, 1), means, has, 1.0)
    by_hand = torch.tensor([[0.952270, 0.047411, 0.000319]])
    torch.testing.assert_close(found, by_hand, atol=1e-6, rtol=0)


def test_a_class_without_a_prototype_has_no_share() -> None:
    has = torch.tensor([True, False])
    assert prototype_labels(torch.zeros(1, 1), torch.zeros(2, 1), has, 1.0).tolist() == [[1.0, 0.0]]
    assert not prototype_labels(torch.zeros(3, 1), torch.zeros(2, 1), has & False, 1.0).any()


@pytest.mark.parametrize("tau", [0.0, 1e-30, 1e30])
def test_labels_are_finite_however_soft(tau: float) -> None:
    features = torch.tensor([[1e3], [0.0]])
    found = prototype_labels(features, torch.tensor([[0.0], [5.0]]), torch.ones(2).bool(), tau)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))


def test_a_veto_is_for_own_classes_only() -> None:
    teacher = torch.eye(3)
    labels, has = torch.tensor([[0.7, 0.3, 0.0]]).expand(3, 3), torch.tensor([True, True, False])
    assert agreed(teacher, labels, has, 0.5, absent=True).tolist() == [True, False, True]
    assert agreed(teacher, labels, has, 0.5, absent=False).tolist() == [True, False, False]
    assert agreed(teacher, labels, has, 0.0, absent=True).all()


def models(result: Any) -> torch.Tensor:
    return torch.stack([flatten(result.model(client)) for client in range(TINY["clients"])])


def test_without_trust_it_is_the_mean() -> None:
    mean = {"strategy": {"name": "fedmd", "exchange": "logits"}, "objective": "kl"}
    one = fedkd.simulate(**SMALL | {"strategy.trust": 0.0})
    assert torch.equal(models(one), models(fedkd.simulate(**SMALL | mean)))
    assert not torch.equal(models(one), models(fedkd.simulate(**SMALL)))


def test_the_share_kept_is_told() -> None:
    rows = fedkd.simulate(**SMALL).clients.to_pylist()
    kept = [row["value"] for row in rows if row["metric"] == "kept"]
    assert len(kept) == TINY["clients"] * TINY["rounds"]
    assert all(0 <= share <= 1 for share in kept)
    assert 0 < sum(kept) < len(kept)


def test_nothing_kept_is_nothing_learnt() -> None:
    several = SMALL | {"data.alpha": None}  # of one class, prototypes are sure
    never = {"strategy.trust": 1.0, "strategy.tau": 1e6, "strategy.absent": False}
    alone = fedkd.simulate(**several | {"strategy": "local"})
    assert torch.equal(models(fedkd.simulate(**several | never)), models(alone))


def test_sums_suffice() -> None:
    plain, masked = (fedkd.simulate(**SMALL | {"secure.aggregation": on}) for on in (False, True))
    assert torch.allclose(models(plain), models(masked), atol=1e-2)


def test_dp_sgd_is_refused_as_prototypes_see_private_samples() -> None:
    with pytest.raises(ConfigError, match="dp_sgd"):
        fedkd.simulate(**SMALL | {"privacy": "dp_sgd", "privacy.epsilon": 1})


def test_mixed_models_some_away_and_resumed(tmp_path: Any) -> None:
    settings = SMALL | {"model": MIXED, "fraction": 0.6}
    whole = fedkd.simulate(**settings | {"rounds": 3})
    fedkd.simulate(run_dir=str(tmp_path), **settings | {"rounds": 1})
    again = fedkd.resume(tmp_path, rounds=3)
    assert again.summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("bad", [{"tau": 0.0}, {"trust": 2.0}])
def test_parameters_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        fedkd.simulate(**SMALL | {f"strategy.{key}": value for key, value in bad.items()})
