"""UWA: soft labels weighted by how dense the clients' own features lie around a sample."""

from typing import Any

import pytest
import torch
from fedkd.clients.exchange.density_labels import DensityLabels
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.uwa import UWA
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError, simulate
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack
from fedkd.maths.mixing import simplex_error

DENSITIES: Any = ["class_gaussian", "gaussian", "kernel"]
seeds = st.integers(0, 999)


def drawn(seed: int, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = (2 * torch.randn(n, 300, 4, generator=generator)).softmax(dim=-1)
    return values, torch.rand(n, 300, generator=generator)


def teach(strategy: UWA, values: Tensor, scores: Tensor) -> Tensor:
    n, samples, _ = values.shape
    ids = torch.arange(samples)
    stack = KnowledgeStack("soft_labels", values, list(range(n)), ids, scores=scores)
    return fuse_in_blocks(strategy, stack, InlineBlocks())[0].values


def test_weights_are_densities_to_a_power_by_hand() -> None:
    """Scores 0.9 and 0.3 to the power 2: 9 to 1."""
    values = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    teacher = teach(UWA(tau=0.5), values, torch.tensor([[0.9], [0.3]]))
    torch.testing.assert_close(teacher, torch.tensor([[0.9, 0.1]]))
    assert (teacher - values.mean(dim=0)).abs().max() > 1e-3


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 6), st.floats(0.01, 100))
def test_teachers_are_soft_labels_and_clients_may_change_places(
    seed: int, n: int, tau: float
) -> None:
    values, scores = drawn(seed, n)
    teacher = teach(UWA(tau), values, scores)
    assert simplex_error(teacher) < 1e-5
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        teach(UWA(tau), values[order], scores[order]), teacher, atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(teach(UWA(tau), values[:1], scores[:1]), values[0])


@given(seeds, st.integers(1, 5), st.floats(0.01, 1))
def test_without_heterogeneity_it_is_the_plain_mean(seed: int, n: int, tau: float) -> None:
    """As the paper's abstract claims: whoever is equally certain counts equally."""
    values, scores = drawn(seed, n)
    same = teach(UWA(tau), values, scores[:1].expand(n, -1))
    torch.testing.assert_close(same, values.mean(dim=0), atol=1e-5, rtol=1e-4)
    soft = teach(UWA(1e6), values, scores.clamp_min(0.01))
    torch.testing.assert_close(soft, values.mean(dim=0), atol=1e-4, rtol=0)


def test_a_small_tau_leaves_the_most_certain() -> None:
    values, scores = drawn(0, 4)
    best = scores.argmax(dim=0)
    expected = values[best, torch.arange(300)]
    scores[best, torch.arange(300)] += 0.1
    torch.testing.assert_close(teach(UWA(1e-3), values, scores), expected, atol=1e-5, rtol=0)


# -- certainty -----------------------------------------------------------------------------------


def clouds() -> tuple[Tensor, Tensor, Tensor]:
    """Public features, private ones in two classes, and their labels; 20 public ones are far."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    private = torch.randn(80, 4, generator=generator) + 8 * labels.unsqueeze(1)
    public = torch.randn(60, 4, generator=generator)
    public[20:40] += 8
    public[40:] += 4  # between the classes
    return public, private, labels


def certainty(density: Any, scale: float = 1.0) -> Tensor:
    public, private, labels = clouds()
    exchange = DensityLabels(density, dim=4)
    return exchange.certainty(
        scale * public, scale * private, labels, torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("density", ["class_gaussian", "kernel"])
def test_what_lies_between_the_classes_is_uncertain(density: Any) -> None:
    scores = certainty(density)
    assert ((scores > 0) & (scores <= 1)).all()
    assert scores[:40].mean() > 0.7
    assert scores[40:].mean() < 0.5


def test_one_gaussian_for_all_does_not_see_the_gap() -> None:
    scores = certainty("gaussian")
    assert scores[40:].mean() > 0.9


@pytest.mark.parametrize("density", DENSITIES)
def test_the_unit_of_features_does_not_matter(density: Any) -> None:
    """Or densities of different models could not be compared."""
    torch.testing.assert_close(certainty(density, 30.0), certainty(density), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("density", DENSITIES)
def test_a_single_private_sample_is_enough(density: Any) -> None:
    public, private, labels = clouds()
    exchange = DensityLabels(density, dim=4)
    scores = exchange.certainty(public, private[:1], labels[:1], torch.Generator())
    assert scores.isfinite().all()


@pytest.mark.parametrize(("name", "value"), [("tau", 0), ("dim", 0), ("density", "flat")])
def test_bad_parameters_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        simulate({"name": "uwa", name: value}, **TINY)


def headless() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())


def test_models_without_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="uwa works on features, and headless has no linear"):
        simulate("uwa", model=headless, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


def test_mixed_models_and_resume(tmp_path) -> None:
    settings = TINY | {"model": MIXED, "fraction": 0.6, "transfer.per_round": 30}
    whole = simulate("uwa", **settings)
    assert whole.summary["rejected"] == 0
    simulate("uwa", run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]


def test_other_densities_give_other_teachers() -> None:
    nodes = [{"name": "uwa", "tau": 0.01, "density": kind} for kind in ("gaussian", "kernel")]
    runs = [simulate(node, **TINY | {"rounds": 1}) for node in ["uwa", *nodes]]
    assert len({run.summary["digest"] for run in runs}) == 3
    assert [run.summary["rejected"] for run in runs] == [0, 0, 0]
