"""Samplers: what each picks, the edges that all share, and that seeds decide the rest."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients.samplers import Pool, Sampler, ScoreSampler
from fedkd.clients.samplers.badge import BADGE
from fedkd.clients.samplers.coreset import Coreset
from fedkd.clients.samplers.discrepancy import Discrepancy
from fedkd.clients.samplers.entropy import Entropy
from fedkd.clients.samplers.ksas import KSAS
from fedkd.clients.samplers.least_confidence import LeastConfidence
from fedkd.clients.samplers.logo import LoGo
from fedkd.clients.samplers.margin import Margin
from fedkd.clients.samplers.random import Random
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from fedkd.errors import ConfigError
from fedkd.maths.acquisition import discrepancy, entropy, least_confidence
from fedkd.maths.picking import residuals
from fedkd.plugins import available, create
from fedkd.rng import torch_generator

CLASSES, DIM = 4, 6
SELECTING = [LeastConfidence, Margin, Entropy, Coreset, BADGE]
SAMPLERS: dict[str, Sampler] = {
    **{
        f"{cls.__name__}-{which}": cls(selector=which)
        for cls in SELECTING
        for which in ("global", "local", "both")
    },
    **{cls.__name__: cls() for cls in (Random, KSAS, Discrepancy, LoGo)},
}
ENSEMBLES = ("LoGo", *(f"{name}-both" for name in ("LeastConfidence", "Margin", "Entropy")))
"""Whose first picks depend on how many there are: clusters, or how much of a list counts."""
SCORING = [name for name, sampler in SAMPLERS.items() if isinstance(sampler, ScoreSampler)]
every = pytest.mark.parametrize("name", SAMPLERS)
seeds = st.integers(0, 10_000)
quick = settings(max_examples=25, deadline=None)


class Models:
    """Linear "models" of three names; counts what they are asked."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        self.asked: Counter[tuple[str, str, int]] = Counter()
        self.weights = {
            (what, which): torch.tensor(rng.normal(0, scale, (DIM, width)), dtype=torch.float32)
            for which in ("local", "global", "alone")
            for what, width in (("logits", CLASSES), ("features", DIM))
        }

    def answer(self, what: str, which: str, x: Tensor) -> Tensor:
        assert len(x), "nobody should ask about nothing"
        self.asked[what, which, len(x)] += 1
        return x @ self.weights[what, which]


def pool_of(
    size: int = 30,
    labelled: int = 8,
    seed: int = 0,
    generator: int = 0,
    counts: list[int] | None = None,
    models: Models | None = None,
    rows: Tensor | None = None,
) -> Pool:
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(size, DIM)), dtype=torch.float32)
    known = torch.tensor(rng.normal(size=(labelled, DIM)), dtype=torch.float32)
    y = torch.tensor(rng.integers(0, CLASSES, labelled))
    made = models or Models(seed)
    return Pool(
        x if rows is None else x[rows],
        known,
        y,
        torch.bincount(y, minlength=CLASSES) if counts is None else torch.tensor(counts),
        predict=lambda which, x: made.answer("logits", which, x),
        embed=lambda which, x: made.answer("features", which, x),
        generator=torch_generator(generator),
    )


def given_logits(local: Tensor, other: Tensor, counts: list[int], seed: int = 0) -> Pool:
    """A pool whose samples are the rows of their logits."""
    table = {"local": local, "global": other}
    return Pool(
        torch.arange(len(local))[:, None],
        torch.zeros(0, 1),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor(counts),
        predict=lambda which, x: table[which][x[:, 0]],
        embed=lambda which, x: x.float(),
        generator=torch_generator(seed),
    )


def test_the_room_is_complete() -> None:
    assert sorted(available("clients.samplers", Sampler)) == [
        "badge",
        "coreset",
        "discrepancy",
        "entropy",
        "ksas",
        "least_confidence",
        "logo",
        "margin",
        "random",
    ]


# What all share


@every
@pytest.mark.parametrize("budget", [1, 7, 29, 30])
def test_picks_are_distinct_positions(name: str, budget: int) -> None:
    picked = SAMPLERS[name].pick(pool_of(), budget)
    assert picked.dtype == torch.int64
    assert picked.shape == (budget,)
    assert len(set(picked.tolist())) == budget
    assert set(picked.tolist()) <= set(range(30))


@every
def test_a_budget_of_zero_is_empty_and_not_the_whole_pool(name: str) -> None:
    """The trap of ``order[-0:]``: with a budget of 0 the official slice takes everything."""
    models = Models(0)
    picked = SAMPLERS[name].pick(pool_of(models=models), 0)
    assert picked.tolist() == []
    assert picked.dtype == torch.int64
    assert not models.asked


@every
def test_a_budget_beyond_the_pool_takes_the_whole_pool(name: str) -> None:
    picked = SAMPLERS[name].pick(pool_of(size=5), 12)
    assert sorted(picked.tolist()) == [0, 1, 2, 3, 4]


@every
def test_an_empty_pool_gives_nothing(name: str) -> None:
    assert SAMPLERS[name].pick(pool_of(size=0), 3).tolist() == []


@every
def test_a_pool_of_one(name: str) -> None:
    assert SAMPLERS[name].pick(pool_of(size=1), 3).tolist() == [0]


@every
def test_a_client_without_labels_can_pick(name: str) -> None:
    picked = SAMPLERS[name].pick(pool_of(labelled=0), 4)
    assert len(set(picked.tolist())) == 4


@every
def test_equal_samples_can_be_picked(name: str) -> None:
    rows = torch.zeros(12, dtype=torch.int64)
    orders = {
        tuple(SAMPLERS[name].pick(pool_of(generator=g, rows=rows), 5).tolist()) for g in range(8)
    }
    assert all(len(set(order)) == 5 for order in orders)
    assert len(orders) > 1  # ties are random, by the generator


@every
def test_a_negative_budget_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="budget=-1 must be at least 0"):
        SAMPLERS[name].pick(pool_of(), -1)


@every
def test_seed_decides_and_global_generators_are_left_alone(name: str) -> None:
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    first = SAMPLERS[name].pick(pool_of(generator=3), 9)
    torch.rand(5)
    np.random.rand(5)
    assert SAMPLERS[name].pick(pool_of(generator=3), 9).equal(first)
    torch.set_rng_state(before[2])
    np.random.seed(1)
    state = str(np.random.get_state())
    SAMPLERS[name].pick(pool_of(generator=4), 9)
    assert (random.getstate(), str(np.random.get_state())) == (before[0], state)
    assert torch.get_rng_state().equal(before[2])


@every
def test_a_sampler_remembers_nothing(name: str) -> None:
    sampler = SAMPLERS[name]
    before = vars(sampler).copy()
    first = sampler.pick(pool_of(seed=1), 5)
    sampler.pick(pool_of(seed=2), 9)
    assert sampler.pick(pool_of(seed=1), 5).equal(first)
    assert vars(sampler) == before


@every
def test_picking_leaves_the_pool_alone(name: str) -> None:
    pool = pool_of()
    tensors = [pool.x, pool.labelled_x, pool.labelled_y, pool.counts]
    before = [t.clone() for t in tensors]
    SAMPLERS[name].pick(pool, 9)
    assert all(t.equal(b) for t, b in zip(tensors, before, strict=True))


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n not in ENSEMBLES])
def test_a_larger_budget_picks_the_same_first(name: str) -> None:
    few, many = (SAMPLERS[name].pick(pool_of(), budget) for budget in (6, 20))
    assert many[:6].equal(few)


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "Random"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_model_that_diverged_is_refused(name: str, bad: float) -> None:
    pool = pool_of()
    what = "features" if name.startswith("Coreset") else "logits"
    honest = {"logits": pool.predict, "features": pool.embed}[what]

    def diverged(which: str, x: Tensor) -> Tensor:
        values = honest(which, x).clone()
        values[2, 1] = bad
        return values

    setattr(pool, {"logits": "predict", "features": "embed"}[what], diverged)
    wanted = rf"the (local|global) model's {what} of the unlabelled samples are not finite for 1 of"
    with pytest.raises(ValueError, match=wanted):
        SAMPLERS[name].pick(pool, 3)


@pytest.mark.parametrize("name", SCORING)
@quick
@given(seeds)
def test_scores_move_with_the_samples(name: str, seed: int) -> None:
    sampler, order = SAMPLERS[name], torch.randperm(30, generator=torch_generator(seed))
    assert isinstance(sampler, ScoreSampler)
    scores = sampler.score(pool_of(seed=seed))
    moved = sampler.score(pool_of(seed=seed, rows=order))
    torch.testing.assert_close(moved, scores[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Coreset-local", "Coreset-both"])
def test_coreset_follows_the_samples(name: str) -> None:
    order = torch.randperm(30, generator=torch_generator(1))
    picked = SAMPLERS[name].pick(pool_of(), 9)
    assert order[SAMPLERS[name].pick(pool_of(rows=order), 9)].equal(picked)


def test_models_are_asked_once_and_only_when_needed() -> None:
    models = Models(0)
    pool = pool_of(models=models)
    Random().pick(pool, 5)
    assert not models.asked
    for _ in range(2):
        KSAS().pick(pool, 5)
        Coreset().pick(pool, 5)
    assert models.asked == {
        ("logits", "local", 30): 1,
        ("logits", "global", 30): 1,
        ("features", "global", 30): 1,
        ("features", "global", 8): 1,
    }


def test_selectors_look_at_their_models() -> None:
    for which, wanted in {"local": {"local"}, "both": {"global", "local"}}.items():
        for cls in SELECTING:
            models = Models(0)
            cls(selector=which).pick(pool_of(models=models), 3)
            assert {asked for _, asked, _ in models.asked} == wanted
    with pytest.raises(ValueError, match="selector=mine must be one of global, local, both"):
        Entropy(selector="mine")  # type: ignore[arg-type]


class Broken(ScoreSampler):
    """Scores or picks that are no good."""

    def __init__(self, scores: Tensor | None = None, picks: Tensor | None = None) -> None:
        self.scores, self.picks = scores, picks

    def score(self, pool: Pool) -> Tensor:
        assert self.scores is not None
        return self.scores

    def choose(self, pool: Pool, budget: int) -> Tensor:
        return super().choose(pool, budget) if self.picks is None else self.picks


@pytest.mark.parametrize("picks", [[0, 0], [0, 9], [-1, 0], [0], [0, 1, 2]])
def test_bad_picks_of_a_plugin_are_refused(picks: list[int]) -> None:
    with pytest.raises(ValueError, match="Broken did not pick 2 distinct of 9 samples"):
        Broken(picks=torch.tensor(picks)).pick(pool_of(size=9), 2)


def test_bad_scores_of_a_plugin_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Broken scored \[9, 1\], not \[9\]"):
        Broken(torch.zeros(9, 1)).pick(pool_of(size=9), 2)
    scores = torch.zeros(9)
    scores[4] = float("nan")
    with pytest.raises(ValueError, match="1 of 9 scores are NaN"):
        Broken(scores).pick(pool_of(size=9), 2)


def test_a_pool_that_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="the labelled part has 2 samples, 3 labels"):
        Pool(*map(torch.zeros, (1, 2, 3, 4)), None, None, torch_generator(0))  # type: ignore[arg-type]
    pool = pool_of(size=5)
    pool.predict = lambda which, x: torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"have shape \[4, 2\], not \[5, any\]"):
        pool.logits("local")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "ksas", "tau": -1.0}, "tau=-1.0: must be at least 0 and finite"),
        ({"name": "ksas", "tau": float("inf")}, "tau=inf: must be at least 0 and finite"),
        ({"name": "ksas", "prior_eps": float("nan")}, "prior_eps=nan: must be a number"),
        ({"name": "margin", "selector": "mine"}, "selector"),
        ({"name": "ksas", "selector": "both"}, "selector"),
    ],
)
def test_bad_parameters_are_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create(node, "clients.samplers", Sampler, "sampler")


# One by one


def test_random_gives_every_sample_the_same_chance() -> None:
    sampler, pool = Random(), pool_of(size=10)
    counts = Counter(i for _ in range(3000) for i in sampler.pick(pool, 3).tolist())
    assert [counts[i] / 3000 for i in range(10)] == pytest.approx([0.3] * 10, abs=0.04)


def test_uncertainties_pick_different_samples() -> None:
    """By hand: margin wants the close race, the others the widest spread."""
    p = torch.tensor([[0.50, 0.49, 0.01], [0.44, 0.28, 0.28], [0.45, 0.35, 0.20]])
    sure = torch.tensor([[9.0, 0.0, 0.0]] * 3)
    for cls, wanted in ((Margin, 0), (LeastConfidence, 1), (Entropy, 1)):
        assert cls().pick(given_logits(sure, p.log(), [1, 1, 1]), 1).tolist() == [wanted]
        local = given_logits(p.log(), sure, [1, 1, 1])
        assert cls(selector="local").pick(local, 1).tolist() == [wanted]


def test_scores_of_confident_models_do_not_saturate() -> None:
    """In float32 both samples would have p = 1, and the order would be random."""
    sure = torch.tensor([[30.0, 0.0], [25.0, 0.0]])
    for cls in (LeastConfidence, Margin, Entropy):
        for seed in range(6):
            assert cls().pick(given_logits(sure, sure, [1, 1], seed), 1).tolist() == [1]


def test_both_fuses_ranks() -> None:
    """Ranks 0, 1, 2 for the global and 2, 0, 1 for the local model."""
    other = torch.tensor([[0.1, 0.0], [1.0, 0.0], [2.0, 0.0]])
    local = torch.tensor([[900.0, 0.0], [0.1, 0.0], [1.0, 0.0]])
    pool = given_logits(local, other, [1, 1])
    by_hand = [1 / 20 + 1 / 22, 1 / 21 + 1 / 20, 1 / 22 + 1 / 21]
    assert Entropy(selector="both").score(pool).tolist() == pytest.approx(by_hand)
    assert Entropy(selector="both").pick(pool, 3).tolist() == [1, 0, 2]


def test_both_fuses_only_as_much_of_each_list_as_is_asked_for() -> None:
    """Sample 2 is second in both lists: with a budget of 1 it loses to what is first in one."""
    doubts = {"global": [0.1, 9.0, 0.3, 8.0, 7.0], "local": [9.0, 0.1, 0.3, 8.0, 7.0]}
    other, local = (F.pad(torch.tensor(row)[:, None], (0, 1)) for row in doubts.values())
    pools = [given_logits(local, other, [1, 1], seed) for seed in range(20)]
    sampler = Entropy(selector="both")
    assert {int(sampler.pick(pool, 1)) for pool in pools} == {0, 1}
    assert int(sampler.score(pools[0]).argmax()) == int(sampler.pick(pools[0], 2)[0]) == 2


def test_ksas_follows_the_prior() -> None:
    """The models disagree about classes 0 and 1 on one sample, about 2 and 3 on the other."""
    local = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    other = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    for counts, wanted in (([50, 50, 1, 1], 0), ([1, 1, 50, 50], 1), ([1, 1, 1, 1], 1)):
        assert KSAS().pick(given_logits(local, other, counts), 1).tolist() == [wanted]
        assert Discrepancy().pick(given_logits(local, other, counts), 1).tolist() == [1]


@quick
@given(seeds)
def test_ksas_with_absent_classes_picks_like_the_masked_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f, g = torch.tensor(rng.normal(0, 2, (2, 20, 5)), dtype=torch.float64)
    n = [40, 0, 3, 0, 11]
    known = torch.tensor(n) > 0
    prior = torch.tensor(n)[known].double().log()
    p, q = (f[:, known] + prior).log_softmax(-1), (g[:, known] + prior).log_softmax(-1)
    reference = ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2
    picked = KSAS().pick(given_logits(f, g, n, seed), 6)
    assert set(picked.tolist()) == set(reference.topk(6).indices.tolist())


def test_the_zero_count_trap_does_not_turn_ksas_into_random() -> None:
    """One sample stands out. The published expression is NaN there as everywhere."""
    f, g = torch.zeros(200, 3), torch.zeros(200, 3)
    f[57, 0] = 4.0
    n = torch.tensor([9.0, 0.0, 3.0])
    naive = F.kl_div((f + n.log()).log_softmax(-1), (g + n.log()).softmax(-1), reduction="none")
    assert bool(naive.sum(-1).isnan().all())
    picks = {KSAS().pick(given_logits(f, g, [9, 0, 3], s), 1).item() for s in range(20)}
    assert picks == {57}


@pytest.mark.parametrize("counts", [[0, 12, 0, 0], [0, 0, 0, 0]])
def test_ksas_with_at_most_one_labelled_class_is_seeded_random(counts: list[int]) -> None:
    picks = [KSAS().pick(pool_of(counts=counts, generator=g), 6).tolist() for g in range(12)]
    assert len({tuple(p) for p in picks}) == 12
    assert KSAS().pick(pool_of(counts=counts, generator=5), 6).tolist() == picks[5]


@quick
@given(seeds)
def test_ksas_scores_are_the_closed_form_and_discrepancy_is_tau_zero(seed: int) -> None:
    pool = pool_of(seed=seed, counts=[5, 0, 2, 9])
    f, g, n = pool.logits("local"), pool.logits("global"), pool.counts
    assert KSAS(0.5, 0.1).score(pool).equal(discrepancy(f, g, n, 0.5, 0.1))
    assert KSAS(tau=0.0).score(pool).equal(Discrepancy().score(pool))
    assert not KSAS().score(pool).equal(Discrepancy().score(pool))


def test_coreset_keeps_away_from_what_is_labelled() -> None:
    x, labelled = torch.tensor([[0.0], [4.0], [9.0], [10.0]]), torch.tensor([[10.5]])
    pool = pool_of()
    pool.x, pool.labelled_x, pool.embed = x, labelled, lambda which, x: x
    assert Coreset().pick(pool, 3).tolist() == [0, 1, 2]


def test_coreset_of_both_takes_models_of_different_width() -> None:
    """Squared distances add up: 3 + 4 beats 5 + 0 and 0 + 5."""
    x = torch.tensor([[5.0, 0.0], [0.0, 5.0], [4.0, 4.0]])
    pool = pool_of()
    pool.x, pool.labelled_x, pool.labelled_y = x, torch.zeros(1, 2), torch.zeros(1).long()
    pool.embed = lambda which, x: x[:, :1] if which == "local" else x[:, 1:].repeat(1, 3)
    assert Coreset(selector="local").pick(pool, 1).tolist() == [0]
    assert Coreset(selector="both").pick(pool, 1).tolist() == [1]  # 3 * 25 > 16 + 3 * 16
    pool = pool_of()
    pool.x, pool.labelled_x, pool.labelled_y = x, torch.zeros(1, 2), torch.zeros(1).long()
    pool.embed = lambda which, x: x[:, :1] if which == "local" else x[:, 1:]
    assert Coreset(selector="both").pick(pool, 1).tolist() == [2]  # 32 > 25


@pytest.mark.parametrize("selector", ["local", "both"])
def test_badge_starts_at_the_largest_gradient(selector: str) -> None:
    pool = pool_of(seed=4)
    models = ("local",) if selector == "local" else ("local", "global")
    g = torch.cat(
        [
            (residuals(pool.logits(m))[:, :, None] * pool.features(m)[:, None]).flatten(1)
            for m in models
        ],
        dim=1,
    )
    picked = BADGE(selector=selector).pick(pool, 4)  # type: ignore[arg-type]
    assert picked[0] == g.norm(dim=1).argmax()


def test_badge_spreads_over_groups_of_equal_samples() -> None:
    rows = torch.arange(3).repeat_interleave(10)
    for seed in range(10):
        picked = BADGE().pick(pool_of(rows=rows, generator=seed), 3)
        assert sorted(rows[picked].tolist()) == [0, 1, 2]


def logo_clusters(pool: Any, seed: int, budget: int, starts: int) -> Tensor:
    """Return the cluster of each sample, as scikit-learn has it."""
    generator = torch_generator(seed)
    torch.randperm(60, generator=generator)
    weight = least_confidence(pool.logits("alone").double().softmax(-1))
    points = pool.features("alone").double() * weight[:, None]
    chance = int(torch.randint(2**31, (), generator=generator))
    means = KMeans(budget, n_init=starts, random_state=chance)
    with threadpool_limits(1):
        return torch.from_numpy(means.fit_predict(points.numpy())).long()


@quick
@given(seeds, st.integers(2, 8))
def test_logo_picks_the_most_uncertain_of_each_cluster(seed: int, budget: int) -> None:
    pool = pool_of(size=60, seed=seed, generator=seed)
    picked = LoGo().pick(pool, budget).tolist()
    groups = logo_clusters(pool, seed, budget, starts=10)
    doubt = entropy(pool.logits("global").double().softmax(-1))
    best = {int(max(torch.nonzero(groups == k).flatten(), key=lambda i: doubt[i])) for k in groups}
    assert set(picked) == best
    assert len(set(groups[picked].tolist())) == budget
    assert doubt[picked].tolist() == sorted(doubt[picked].tolist(), reverse=True)


def test_logo_takes_the_best_of_ten_starts() -> None:
    """Each pick is alone in its cluster of ten starts; of one start, some share theirs."""
    shared = {10: 0, 1: 0}
    for seed in range(5):
        pool = pool_of(size=60, seed=seed, generator=seed)
        picked = LoGo().pick(pool, 8)
        for starts in shared:
            shared[starts] += 8 - len(logo_clusters(pool, seed, 8, starts)[picked].unique())
    assert shared[10] == 0 < shared[1]


def test_logo_by_hand() -> None:
    """Three places, far apart: the global model's doubt decides within each."""
    place = torch.tensor([0.0, 0.1, 0.2, 50.0, 50.1, 50.2, 90.0, 90.1, 90.2])
    certainty = torch.tensor([1.0, 0.2, 3.0, 2.0, 3.0, 1.5, 9.0, 8.0, 7.0])
    pool = pool_of()
    pool.x = torch.stack([place, certainty], dim=1)
    pool.embed = lambda which, x: x[:, :1] if which == "alone" else x[:, :1] * float("nan")
    pool.predict = lambda which, x: F.pad(
        x[:, 1:] if which == "global" else torch.zeros(len(x), 1), (0, 1)
    )
    assert LoGo().pick(pool, 3).tolist() == [1, 5, 8]


def test_logo_fills_up_where_there_are_too_few_clusters(recwarn: pytest.WarningsRecorder) -> None:
    """Two distinct points, a budget of four: the two best, then the next most uncertain."""
    pool = pool_of()
    certainty = torch.tensor([5.0, 6.0, 7.0, 1.0, 2.0, 8.0])
    pool.x = torch.stack([torch.tensor([0.0, 0, 0, 4, 4, 4]), certainty], dim=1)
    pool.embed = lambda which, x: x[:, :1]
    pool.predict = lambda which, x: F.pad(
        x[:, 1:] if which == "global" else torch.zeros(len(x), 1), (0, 1)
    )
    picked = LoGo().pick(pool, 4).tolist()
    assert picked[:2] == [3, 0]
    assert picked[2:] == [4, 1]
    assert not recwarn.list
