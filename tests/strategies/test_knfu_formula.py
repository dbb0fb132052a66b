"""KnFu against its formula, written down once more in numpy, and the limits of reference 1.5."""

import math

import numpy as np
import pytest
import torch
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.knfu import KnFu
from hypothesis import given, settings
from hypothesis import strategies as st
from support import stack_of

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack
from fedkd.maths.mixing import simplex_error

DISTANCES = ["kl", "reverse_kl", "js", "l2", "cosine"]
TINY = 1e-12

seeds = st.integers(0, 10_000)
distances = st.sampled_from(DISTANCES)


def random_labels(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    """Skewed soft labels: each client prefers classes of its own."""
    rng = np.random.default_rng(seed)
    tilt = rng.normal(0, 1.5, (n, 1, classes))
    logits = tilt + rng.normal(0, 1, (n, samples, classes))
    return torch.tensor(logits, dtype=torch.float32).softmax(dim=-1)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return sum(a * (math.log(max(a, TINY)) - math.log(max(b, TINY))) for a, b in zip(p, q))  # noqa: B905


def distance(kind: str, p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return {
        "kl": lambda: kl(p, q),
        "reverse_kl": lambda: kl(q, p),
        "js": lambda: kl(p, m) / 2 + kl(q, m) / 2,
        "l2": lambda: math.sqrt(((p - q) ** 2).sum()),
        "cosine": lambda: 1 - (p @ q) / math.sqrt((p @ p) * (q @ q)),
    }[kind]()


def knfu(values: np.ndarray, beta: float, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights and teacher, pair by pair in double precision (reference, Eq. 5 to 9)."""
    n, samples, classes = values.shape
    epd = [sum(values[k, x] for x in range(samples)) / samples for k in range(n)]
    weights, teacher = np.zeros((n, n)), np.zeros((n, samples, classes))
    for i in range(n):
        scores = [math.exp(-beta * distance(kind, epd[i], epd[j])) for j in range(n)]
        for j in range(n):
            weights[i, j] = scores[j] / sum(scores)
            teacher[i] += weights[i, j] * values[j]
    return weights, teacher


def fused(strategy: KnFu, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    teacher, weights = fuse_in_blocks(strategy, stack_of(values), InlineBlocks())
    assert weights is not None
    return teacher.values, weights


def test_two_clients_by_hand() -> None:
    """EPDs (3/4, 1/4) and (1/4, 3/4): every distance is a closed expression."""
    values = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    m = math.log(0.75 / 0.5) * 0.75 + math.log(0.25 / 0.5) * 0.25
    by_hand = {
        "kl": 0.5 * math.log(3),
        "reverse_kl": 0.5 * math.log(3),
        "js": m,
        "l2": math.sqrt(0.5),
        "cosine": 1 - 0.375 / 0.625,
    }
    for kind, d in by_hand.items():
        own = 1 / (1 + math.exp(-2 * d))
        weights = KnFu(beta=2.0, distance=kind).weights(stack_of(values))  # type: ignore[arg-type]
        expected = torch.tensor([[own, 1 - own], [1 - own, own]])
        torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)


def test_three_clients_by_hand() -> None:
    """KL from (1/2, 1/2) is log 2 / 2 - log 3 / 2 ... : asymmetric, so the direction shows."""
    epd = [(0.5, 0.5), (0.75, 0.25), (0.5, 0.5)]
    values = torch.tensor([[row] for row in epd])
    there = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    back = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    for kind, pair in {"kl": (there, back), "reverse_kl": (back, there)}.items():
        a, b = (math.exp(-10 * d) for d in pair)
        expected = torch.tensor([[1, a, 1], [b, 1, b], [1, a, 1]])
        weights = KnFu(distance=kind).weights(stack_of(values))  # type: ignore[arg-type]
        torch.testing.assert_close(weights, expected / expected.sum(1, keepdim=True))


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 5), distances, st.floats(0, 30))
def test_weights_and_teacher_are_the_formula(seed: int, n: int, kind: str, beta: float) -> None:
    values = random_labels(seed, n)
    weights, teacher = knfu(values.double().numpy(), beta, kind)
    got, expected = fused(KnFu(beta=beta, distance=kind), values), (teacher, weights)  # type: ignore[arg-type]
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours.double(), torch.tensor(theirs), atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_beta_0_is_the_uniform_mean(kind: str, n: int) -> None:
    values = random_labels(3, n)
    teacher, weights = fused(KnFu(beta=0.0, distance=kind), values)  # type: ignore[arg-type]
    torch.testing.assert_close(weights, torch.full((n, n), 1 / n))
    torch.testing.assert_close(teacher, values.mean(dim=0).expand(n, -1, -1))


@pytest.mark.parametrize("kind", DISTANCES)
def test_a_large_beta_leaves_each_client_its_own(kind: str) -> None:
    values = random_labels(5, 4)
    teacher, weights = fused(KnFu(beta=1e7, distance=kind), values)  # type: ignore[arg-type]
    assert torch.equal(weights, torch.eye(4))
    assert torch.equal(teacher, values)


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("beta", [0.0, 10.0, 1e6])
def test_identical_clients_share_evenly(kind: str, beta: float) -> None:
    values = random_labels(6, 1).expand(3, -1, -1).contiguous()
    teacher, weights = fused(KnFu(beta=beta, distance=kind), values)  # type: ignore[arg-type]
    torch.testing.assert_close(weights, torch.full((3, 3), 1 / 3))
    torch.testing.assert_close(teacher, values)


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("include_self", [True, False])
def test_one_client_alone_is_the_identity(kind: str, include_self: bool) -> None:
    values = random_labels(7, 1)
    teacher, weights = fused(KnFu(distance=kind, include_self=include_self), values)  # type: ignore[arg-type]
    assert torch.equal(weights, torch.ones(1, 1))
    assert torch.equal(teacher, values)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 6), distances, st.floats(0, 50), st.booleans())
def test_permuting_the_clients_permutes_everything(
    seed: int, n: int, kind: str, beta: float, include_self: bool
) -> None:
    strategy = KnFu(beta=beta, distance=kind, include_self=include_self)  # type: ignore[arg-type]
    values = random_labels(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    teacher, weights = fused(strategy, values)
    moved_teacher, moved_weights = fused(strategy, values[order].contiguous())
    torch.testing.assert_close(moved_weights, weights[order][:, order], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved_teacher, teacher[order], atol=1e-5, rtol=1e-4)


@settings(max_examples=80, deadline=None)
@given(
    seeds,
    st.integers(1, 6),
    distances,
    st.floats(0, 1e4),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 8)),
    st.sampled_from(["mean", "histogram"]),
)
def test_simplex_in_simplex_out(
    seed: int,
    n: int,
    kind: str,
    beta: float,
    include_self: bool,
    top_k: int | None,
    estimator: str,
) -> None:
    values = random_labels(seed, n)
    if seed % 2:  # hard labels too: zeros inside the logarithms
        values = torch.nn.functional.one_hot(values.argmax(dim=-1), 4).float()
    strategy = KnFu(beta, kind, estimator, include_self, top_k)  # type: ignore[arg-type]
    teacher, weights = fused(strategy, values)
    assert simplex_error(weights) < 1e-5
    assert simplex_error(teacher) < 1e-5
    if top_k is not None:
        assert int((weights > 0).sum(dim=1).max()) <= top_k
    if not include_self and n > 1:
        assert not weights.diagonal().any()


def test_top_k_keeps_the_nearest_and_renormalises() -> None:
    values = random_labels(8, 5)
    whole = KnFu(beta=2.0).weights(stack_of(values))
    kept = KnFu(beta=2.0, top_k=2).weights(stack_of(values))
    for row, old in zip(kept, whole, strict=True):
        best = old.topk(2).indices
        assert set(row.nonzero().flatten().tolist()) == set(best.tolist())
        torch.testing.assert_close(row[best], old[best] / old[best].sum())
    assert torch.equal(KnFu(beta=2.0, top_k=1).weights(stack_of(values)), torch.eye(5))
    torch.testing.assert_close(KnFu(beta=2.0, top_k=9).weights(stack_of(values)), whole)


@pytest.mark.parametrize("kind", DISTANCES)
def test_without_itself_a_client_has_the_others_in_proportion(kind: str) -> None:
    values = random_labels(9, 4)
    whole = KnFu(beta=2.0, distance=kind).weights(stack_of(values))  # type: ignore[arg-type]
    rest = KnFu(beta=2.0, distance=kind, include_self=False).weights(stack_of(values))  # type: ignore[arg-type]
    expected = whole.clone().fill_diagonal_(0)
    torch.testing.assert_close(rest, expected / expected.sum(dim=1, keepdim=True))
    two = KnFu(include_self=False).weights(stack_of(values[:2]))
    assert torch.equal(two, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


@pytest.mark.parametrize(("beta", "include_self"), [(1e38, False), (1e39, True)])
def test_every_beta_that_is_accepted_gives_weights(beta: float, include_self: bool) -> None:
    values = torch.eye(3)[:, None, :].contiguous()
    weights = KnFu(beta=beta, include_self=include_self).weights(stack_of(values))
    assert simplex_error(weights) < 1e-5


def test_the_histogram_estimator_counts_winners() -> None:
    values = torch.tensor([[[0.6, 0.4], [0.9, 0.1]], [[0.4, 0.6], [0.9, 0.1]]])
    strategy = KnFu(epd_estimator="histogram", distance="l2", beta=1.0)
    epd = strategy.round_extras(stack_of(values))["epd"]
    assert torch.equal(epd, torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    own = 1 / (1 + math.exp(-math.sqrt(0.5)))
    expected = torch.tensor([[own, 1 - own], [1 - own, own]])
    torch.testing.assert_close(strategy.weights(stack_of(values)), expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {"beta": -1.0},
        {"beta": float("nan")},
        {"beta": float("inf")},
        {"top_k": 0},
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        KnFu(**parameters)


def test_a_distance_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="kind=hellinger: not available"):
        KnFu(distance="hellinger").weights(stack_of(random_labels(0, 2)))  # type: ignore[arg-type]


class Watched(KnFu):
    """Keeps the last stack."""

    def weights(self, knowledge: KnowledgeStack) -> torch.Tensor:
        self.seen = knowledge
        return super().weights(knowledge)


def upload(**parameters: float) -> torch.Tensor:
    strategy = Watched(**parameters)
    fedkd.simulate(strategy, clients=3, rounds=1, engine="inline")
    return strategy.seen.values.double()


def test_temperature_softens_what_clients_upload() -> None:
    """p at temperature T is p ** (1 / T), renormalised: the same logits, softened."""
    plain, soft = upload(), upload(temperature=4.0)
    expected = plain ** (1 / 4)
    torch.testing.assert_close(
        soft, expected / expected.sum(dim=-1, keepdim=True), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(upload(temperature=1.0), plain)


def test_a_run_logs_weights_neighbours_and_epds() -> None:
    strategy = Watched(beta=3.0)
    result = fedkd.simulate(strategy, clients=4, rounds=1, engine="inline")
    rows = result.clients.to_pandas().pivot_table(index="client", columns="metric", values="value")
    values = strategy.seen.values.double().numpy()
    weights, _ = knfu(values, 3.0, "kl")
    epd = rows[[f"epd_{c}" for c in range(10)]].to_numpy()
    np.testing.assert_allclose(epd, values.mean(axis=1), atol=1e-5)
    neighbours = 1 / (weights**2).sum(axis=1)
    np.testing.assert_allclose(rows["effective_neighbours"], neighbours, rtol=1e-3)
    with np.load(result.run_dir / "weights.npz") as file:
        np.testing.assert_allclose(file["round_0001"], weights, atol=1e-5)
        assert file["clients_0001"].tolist() == [0, 1, 2, 3]
