"""Fusion for many clients: nothing is held twice, and cutting work up changes no result."""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.strategies import FusionStrategy
from fedkd.strategies.comet import COMET
from fedkd.strategies.fedmd import FedMD
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.knfu import KnFu
from fedkd.strategies.ktpfl import KTpFL
from hypothesis import given, settings
from hypothesis import strategies as st
from support import TINY
from torch import Tensor
from torch.nn import functional as F

import fedkd
from fedkd.check.checking import subject_of
from fedkd.check.promises import Skipped
from fedkd.engine import Fleet, blocks, waves
from fedkd.engine.base import BLOCK, InlineBlocks
from fedkd.errors import RunError
from fedkd.knowledge import Knowledge, KnowledgeStack, Target, Teacher, stack
from fedkd.knowledge import teachers as knowledge_module
from fedkd.knowledge.shelf import Shelf, side_by_side
from fedkd.maths import divergences, mixing, robust
from fedkd.maths.divergences import divergence
from fedkd.maths.likeness import CHUNK, inner
from fedkd.maths.mixing import ROWS, effective_neighbours, epd, top_k
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy

METHODS = {
    name: cls
    for name, cls in available("strategies", Strategy).items()
    if issubclass(cls, FusionStrategy) and cls().exchange_node() is not None
}
SMALL: dict[str, Any] = TINY | {"transfer.size": 300, "evaluate.every": 100}


def labels(n: int, samples: int, classes: int = 5, seed: int = 0) -> KnowledgeStack:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, samples, classes, generator=generator).mul(2).softmax(dim=-1)
    return KnowledgeStack("soft_labels", values, list(range(n)), torch.arange(samples))


# -- a stack is filled once ------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([(3, 2), (4,), (0, 2)]), min_size=1, max_size=9))
def test_what_lies_on_a_shelf_is_stacked_without_a_copy(shapes: list[tuple[int, ...]]) -> None:
    shelf, rows = Shelf(shapes), [torch.randn(shape) for shape in shapes]
    places = [shelf.put(row) for row in rows]
    for shape in set(shapes):
        own = [i for i, other in enumerate(shapes) if other == shape]
        stacked = side_by_side([places[i] for i in own])
        assert torch.equal(stacked, torch.stack([rows[i] for i in own]))
        assert stacked.is_contiguous()
        assert not stacked.numel() or stacked.data_ptr() == places[own[0]].data_ptr()


def test_what_does_not_lie_in_order_is_copied() -> None:
    whole = torch.arange(24.0).reshape(4, 3, 2)
    for rows in ([1, 0], [0, 2], [2, 2], [3, 2, 1, 0]):
        some = [whole[i] for i in rows]
        made = side_by_side(some)
        assert torch.equal(made, torch.stack(some))
        assert made.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr()
    assert torch.equal(side_by_side([whole[2].mT]), torch.stack([whole[2].mT]))
    apart = [torch.ones(2), torch.zeros(2)]
    assert torch.equal(side_by_side(apart), torch.stack(apart))


def test_no_more_than_was_announced_fits_on_a_shelf() -> None:
    shelf = Shelf([(2,)])
    shelf.put(torch.ones(2))
    with pytest.raises(IndexError):
        shelf.put(torch.ones(2))


def test_a_run_admits_into_the_stack_itself() -> None:
    shared = []

    class Watching(FedMD):
        def teach(self, plan: Any, admitted: Sequence[Knowledge], outcome: Any) -> Any:
            values = stack(admitted).values
            shared.append(values.data_ptr() == admitted[0].values.data_ptr())
            told = super().teach(plan, admitted, outcome)
            shared.append(outcome.knowledge.values.data_ptr() == values.data_ptr())
            return told

    fedkd.simulate(Watching(), **SMALL)
    assert shared == [True] * 4


# -- blocks come and go one at a time --------------------------------------------------------------


class Few(InlineBlocks):
    """Counts the blocks, and what was made of them, that are alive at once."""

    def __init__(self) -> None:
        self.alive: list[Any] = []
        self.most = 0

    def map(
        self, function: Callable[[Any], Any], blocks: Sequence[Any], light: bool = False
    ) -> Iterator[Any]:
        def watched(block: Any) -> Any:
            made = function(block)
            values = block.values if isinstance(block, KnowledgeStack) else block
            self.alive += [weakref.ref(values), weakref.ref(made)]
            gc.collect()
            self.most = max(self.most, sum(one() is not None for one in self.alive))
            return made

        return super().map(watched, blocks)


@pytest.mark.parametrize("strategy", [KnFu(), COMET(), FedMD("soft_labels")])
def test_of_many_blocks_few_are_there(strategy: FusionStrategy) -> None:
    pool = Few()
    fuse_in_blocks(strategy, labels(3, 8 * BLOCK), pool)
    assert len(pool.alive) == 16
    assert pool.most <= 4, "this block and what it became; perhaps the ones before"


class Actors:
    """What `ActorBlocks` needs of two actors, in this process; it counts what it was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0
        monkeypatch.setattr(blocks.ray, "put", lambda thing: thing)
        actor = type("Actor", (), {"block": self})
        self.homes = [type("Home", (), {"actor": actor})] * 2

    def remote(self, function: Callable[[Any], Any], block: Any) -> tuple[Any, Any]:
        self.sent += 1
        return block, function(block)

    def recover(self, *given: Any) -> None:
        del given


def test_actors_are_sent_a_few_blocks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is bounded, results come in order, and a lost block is cut out again."""
    cut, fetched, lost = [], [], {4}

    class Blocks(Sequence[int]):
        def __len__(self) -> int:
            return 11

        def __getitem__(self, index: Any) -> Any:
            cut.append(index)
            assert len(cut) - len(fetched) <= blocks.AHEAD * 2 + 1
            return index

    def fetch(call: tuple[int, int]) -> int:
        if call[0] in lost:
            lost.clear()
            raise blocks.DEATHS[1]("gone")
        fetched.append(call[0])
        return call[1]

    monkeypatch.setattr(blocks, "fetch", fetch)
    pool: Any = Actors(monkeypatch)
    found = blocks.ActorBlocks(pool).map(lambda block: block**2, Blocks())
    assert list(found) == [n**2 for n in range(11)]
    assert sorted(cut) == sorted([*range(11), 4])
    assert pool.sent == 12


def test_a_light_function_stays_here_until_it_proves_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    pool: Any = Actors(monkeypatch)
    monkeypatch.setattr(blocks, "fetch", lambda call: call[1])
    takes, now = [0.0], [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])  # the machine may be busy
    monkeypatch.setattr(blocks, "time", clock)

    def work(block: int) -> int:
        now[0] += takes[0]
        return block + 1

    compute, sent = blocks.ActorBlocks(pool), []
    for takes[0] in (0.0, 0.0, 0.05, 0.05, 0.05, 0.0):
        assert list(compute.map(work, range(3), light=True)) == [1, 2, 3]
        sent.append(pool.sent)
    assert sent == [0, 0, 2, 4, 7, 10]
    assert list(compute.map(abs, [], light=True)) == []


def eager(strategy: FusionStrategy, knowledge: KnowledgeStack) -> Tensor:
    """The teacher from all blocks at once."""
    parts = [slice(i, i + BLOCK) for i in range(0, len(knowledge.sample_ids), BLOCK)]
    if type(strategy).fuse is FusionStrategy.fuse:
        weights = strategy.weights(knowledge)
        found = [mixing.mix(weights, knowledge.block(part).values) for part in parts]
    elif strategy.per_sample and knowledge.kind in ("soft_labels", "logits"):
        found = [strategy.fuse(knowledge.block(part)) for part in parts]
    else:
        return strategy.fuse(knowledge)
    return torch.cat(found, dim=-2)


@pytest.mark.parametrize("name", METHODS)
def test_teachers_one_by_one_are_those_all_at_once(name: str) -> None:
    subject = subject_of(name)
    for n in (1, 4):
        try:
            strategy = subject.fusion()
        except Skipped as reason:
            pytest.skip(str(reason))
        knowledge = subject.stack(strategy, range(n), 2 * BLOCK + 3)
        expected = eager(strategy, knowledge)
        teacher, _ = fuse_in_blocks(strategy, knowledge, InlineBlocks())
        mask = teacher.mask
        if mask is None:
            torch.testing.assert_close(teacher.values, expected, atol=1e-6, rtol=0)
        at_once, one_by_one = teacher.records(), teacher.one_by_one()
        assert list(at_once) == list(one_by_one) == knowledge.clients
        for row, client in enumerate(knowledge.clients):
            lesson = Target.read(one_by_one[client], teacher.kind)
            assert torch.equal(lesson.values, Target.read(at_once[client], teacher.kind).values)
            own = teacher.values if teacher.shared else teacher.values[row]
            assert torch.equal(lesson.values, own)


def test_a_teacher_is_packed_when_it_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = []
    real = knowledge_module.to_arrays
    pack = lambda tensors: packed.append(1) or real(tensors)  # noqa: E731
    monkeypatch.setattr(knowledge_module, "to_arrays", pack)
    records = Teacher("soft_labels", labels(3, 4).values, [1, 4, 6]).one_by_one()
    assert (len(records), 4 in records, 5 in records, packed) == (3, True, False, [])
    _ = records[4], records[6]
    assert len(packed) == 2
    with pytest.raises(KeyError):
        _ = records[5]


def test_blocks_that_do_not_belong_together_are_refused() -> None:
    class Fickle(FusionStrategy):
        per_sample = True

        def fuse(self, knowledge: KnowledgeStack) -> Tensor:
            whole = len(knowledge.sample_ids) == BLOCK
            return knowledge.values if whole else knowledge.values.mean(dim=0)

    with pytest.raises(RunError, match="for all of some samples"):
        fuse_in_blocks(Fickle(), labels(3, BLOCK + 1), InlineBlocks())


# -- messages go in waves --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["knfu", "fedmd", "scarlet", "feddf"])
def test_waves_change_no_result(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fedkd.simulate(method, **SMALL).summary
    sizes, send = [], Fleet.send
    monkeypatch.setattr(waves, "CLIENTS", 2)
    monkeypatch.setattr(waves, "BYTES", 1)
    monkeypatch.setattr(
        Fleet, "send", lambda self, some: sizes.append(len(some)) or send(self, some)
    )
    cut = fedkd.simulate(method, **SMALL).summary
    assert cut["digest"] == whole["digest"]
    assert (cut["bytes_up"], cut["bytes_down"]) == (whole["bytes_up"], whole["bytes_down"])
    assert {2, 1} <= set(sizes)
    assert sizes.count(2) >= 4


# -- numbers for pairs of clients, few rows at a time ----------------------------------------------

MANY = 2 * ROWS + 7


@pytest.mark.parametrize("n", [1, 2, MANY])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("beta", [0.0, 10.0])
def test_knfu_weighs_row_by_row_as_all_at_once(n: int, include_self: bool, beta: float) -> None:
    knowledge = labels(n, 6)
    distances = divergence(epd(knowledge.soft_labels)).double()
    if not include_self and n > 1:
        distances.fill_diagonal_(torch.inf)
    scores = -beta * (distances - distances.amin(dim=-1, keepdim=True))
    if not include_self and n > 1:
        scores.fill_diagonal_(-torch.inf)
    expected = scores.softmax(dim=-1).float()
    assert torch.equal(KnFu(beta=beta, include_self=include_self).weights(knowledge), expected)


@pytest.mark.parametrize("n", [1, 5, MANY])
@pytest.mark.parametrize("kind", sorted(divergences.DIVERGENCES))
def test_divergences_do_not_depend_on_how_many_are_held(
    n: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = labels(n, 1).values[:, 0]
    whole = divergence(p, kind=kind)
    monkeypatch.setattr(divergences, "_PAIRS", 1)
    assert torch.equal(divergence(p, kind=kind), whole)
    assert torch.equal(divergence(p[:1], p, kind)[0, 1:], whole[0, 1:])


def test_rows_are_looked_at_on_their_own() -> None:
    values = labels(MANY, 20).values
    weights = KnFu().weights(labels(MANY, 20))
    histogram = F.one_hot(values.argmax(dim=-1), 5).float().mean(dim=1)
    assert torch.equal(epd(values, "histogram"), histogram)
    torch.testing.assert_close(effective_neighbours(weights), 1 / weights.square().sum(dim=-1))
    best = weights.topk(3, dim=-1)
    kept = torch.zeros_like(weights).scatter(-1, best.indices, best.values)
    torch.testing.assert_close(top_k(weights, 3), kept / kept.sum(dim=-1, keepdim=True))


@pytest.mark.parametrize("n", [1, 3, CHUNK + 5])
def test_inner_products_of_pairs(n: int) -> None:
    rows = labels(n, 4).values.flatten(1)
    expected = rows.double() @ rows.double().T
    torch.testing.assert_close(inner(rows), expected, atol=0, rtol=1e-12)


def test_ktpfl_uses_the_weights_it_has_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, weigh = [], KTpFL.weights
    monkeypatch.setattr(KTpFL, "weights", lambda self, k: calls.append(1) or weigh(self, k))
    fedkd.simulate("ktpfl", **SMALL | {"rounds": 3})
    assert len(calls) == 3


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("rule", [lambda v: robust.trimmed(v, (len(v) - 1) // 2), robust.weiszfeld])
def test_robust_means_of_few_samples_at_a_time(
    n: int, rule: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = labels(n, 3 * robust.SAMPLES + 1).values
    cut = rule(values)
    monkeypatch.setattr(robust, "SAMPLES", 1000)
    torch.testing.assert_close(rule(values), cut, atol=1e-14, rtol=0)
    assert rule(values[:, :0]).shape == (0, 5)
