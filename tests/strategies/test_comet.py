"""COMET: k-means of the clients for every sample."""

import numpy as np
import pytest
import torch
from fedkd.strategies.comet import COMET, own_centroids
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from support import MIXED, TINY, stack_of

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.maths.mixing import simplex_error

seeds = st.integers(0, 10_000)


def random_labels(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator).mul(2).softmax(dim=-1)


def test_by_hand() -> None:
    """Two pairs: each client gets the mean of its pair."""
    rows = torch.tensor([[1.0, 0.0], [0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    teacher = COMET().fuse(stack_of(rows.unsqueeze(1)))[:, 0]
    near, far = torch.tensor([0.9, 0.1]), torch.tensor([0.2, 0.8])
    torch.testing.assert_close(teacher, torch.stack([near, far, near, far]))
    assert (teacher - rows.mean(dim=0)).abs().min() > 1e-3


def test_every_sample_has_clusters_of_its_own() -> None:
    """Client 1 sides with client 0 on the first sample, with client 2 on the second."""
    values = torch.tensor(
        [[[1.0, 0.0], [1.0, 0.0]], [[0.8, 0.2], [0.2, 0.8]], [[0.0, 1.0], [0.0, 1.0]]]
    )
    teacher = COMET().fuse(stack_of(values))
    torch.testing.assert_close(teacher[1], torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    torch.testing.assert_close(teacher[0], torch.tensor([[0.9, 0.1], [1.0, 0.0]]))
    torch.testing.assert_close(teacher[2], torch.tensor([[0.0, 1.0], [0.1, 0.9]]))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_one_cluster_is_the_plain_mean(n: int) -> None:
    values = random_labels(3, n)
    teacher = COMET(clusters=1).fuse(stack_of(values))
    torch.testing.assert_close(teacher, values.mean(dim=0).expand(n, -1, -1))


@pytest.mark.parametrize("clusters", [4, 9])
def test_as_many_clusters_as_clients_leave_each_its_own(clusters: int) -> None:
    values = random_labels(4, 4)
    assert torch.equal(COMET(clusters=clusters).fuse(stack_of(values)), values)


def test_equal_rows_and_empty_clusters_do_no_harm() -> None:
    values = random_labels(5, 1).expand(6, -1, -1).contiguous()
    torch.testing.assert_close(COMET(clusters=3).fuse(stack_of(values)), values)


@pytest.mark.parametrize("clusters", [2, 3])
def test_it_finds_what_scikit_learn_finds_where_clusters_are_clear(clusters: int) -> None:
    generator = torch.Generator().manual_seed(clusters)
    corners = torch.eye(5)[torch.arange(12) % clusters]
    noise = torch.rand(12, 8, 5, generator=generator) * 0.1
    values = corners.unsqueeze(1) + noise
    values = values / values.sum(dim=-1, keepdim=True)
    teacher = own_centroids(values, clusters)
    for sample in range(8):
        found = KMeans(clusters, n_init=5, random_state=0).fit(values[:, sample].numpy())
        expected = found.cluster_centers_[found.labels_]
        np.testing.assert_allclose(teacher[:, sample], expected, atol=1e-5)


def test_it_is_about_as_good_as_scikit_learn_where_they_are_not() -> None:
    values = random_labels(6, 10, samples=60)
    teacher = own_centroids(values, 2)
    ours = (values - teacher).square().sum(dim=(0, 2)).mean().item()
    theirs = [KMeans(2, n_init=1, random_state=0).fit(values[:, s].numpy()) for s in range(60)]
    assert ours <= 1.05 * np.mean([found.inertia_ for found in theirs])


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 7), st.integers(1, 4))
def test_nothing_is_left_to_move(seed: int, n: int, clusters: int) -> None:
    """A teacher is the mean of those who have it, and no other teacher is nearer."""
    values = random_labels(seed, n)
    teacher = COMET(clusters=clusters).fuse(stack_of(values))
    assert simplex_error(teacher) < 1e-5
    for sample in range(values.shape[1]):
        rows, taught = values[:, sample], teacher[:, sample]
        own = (rows - taught).norm(dim=-1)
        assert len(taught.unique(dim=0)) <= clusters
        for centroid in taught.unique(dim=0):
            mine = (taught == centroid).all(dim=-1)
            torch.testing.assert_close(rows[mine].mean(dim=0), centroid, atol=1e-5, rtol=0)
            assert ((rows - centroid).norm(dim=-1) >= own - 1e-5).all()


@pytest.mark.parametrize("clusters", [2, 5])
def test_it_goes_on_until_nothing_moves(clusters: int) -> None:
    """Forty clients take more than one step: each centroid is the mean of who is nearest to it."""
    values = random_labels(8, 40, samples=20)
    teacher = own_centroids(values, clusters)
    for sample in range(20):
        rows, centroids = values[:, sample], teacher[:, sample].unique(dim=0)
        nearest = (rows[:, None] - centroids).norm(dim=-1).argmin(dim=1)
        means = torch.stack([rows[nearest == k].mean(dim=0) for k in range(len(centroids))])
        torch.testing.assert_close(means, centroids, atol=1e-5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 7), st.integers(1, 4))
def test_permuting_the_clients_permutes_the_teachers(seed: int, n: int, clusters: int) -> None:
    values, strategy = random_labels(seed, n), COMET(clusters=clusters)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    teacher = strategy.fuse(stack_of(values))
    moved = strategy.fuse(stack_of(values[order].contiguous()))
    torch.testing.assert_close(moved, teacher[order], atol=1e-5, rtol=1e-4)


def test_sharded_equals_unsharded() -> None:
    """Also where a sample is settled long before the others of its block."""
    values = random_labels(7, 9, samples=300)
    teacher, _ = fuse_in_blocks(COMET(), stack_of(values), InlineBlocks())
    torch.testing.assert_close(teacher.values, COMET().fuse(stack_of(values)), atol=1e-6, rtol=0)
    alone = torch.cat([COMET().fuse(stack_of(values[:, s : s + 1])) for s in range(300)], dim=1)
    torch.testing.assert_close(alone, teacher.values, atol=1e-6, rtol=0)


def test_no_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="clusters=0 must be at least 1"):
        COMET(clusters=0)


def test_a_run_with_mixed_models() -> None:
    comet, alone = (
        fedkd.simulate(name, model=MIXED, fraction=0.8, **TINY) for name in ("comet", "local")
    )
    assert comet.summary["rejected"] == 0
    assert comet.summary["digest"] != alone.summary["digest"]
