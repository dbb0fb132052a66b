"""SCARLET: Enhanced ERA, and a cache that server and clients agree on."""

from collections import defaultdict

import pytest
import torch
from fedkd.clients.exchange.base import Exchange
from fedkd.clients.standard import Standard
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.scarlet import SCARLET, enhanced_era
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY, stack_of

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.maths.mixing import simplex_error

SMALL = TINY | {"rounds": 3, "evaluate.every": 100}


def random_labels(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator).mul(2).softmax(dim=-1)


# -- the formula -------------------------------------------------------------------------------


def test_enhanced_era_by_hand() -> None:
    """Mean (3/4, 1/4): squares 9/16 and 1/16."""
    values = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    torch.testing.assert_close(SCARLET().fuse(stack_of(values)), torch.tensor([[0.9, 0.1]]))
    cubes = torch.tensor([[27 / 28, 1 / 28]])
    torch.testing.assert_close(SCARLET(beta=3.0).fuse(stack_of(values)), cubes)


def test_beta_1_is_the_plain_mean_and_2_is_not() -> None:
    values = random_labels(1, 3)
    mean = values.mean(dim=0)
    torch.testing.assert_close(SCARLET(beta=1.0).fuse(stack_of(values)), mean)
    assert (SCARLET().fuse(stack_of(values)) - mean).abs().max() > 1e-3


@pytest.mark.parametrize("beta", [50.0, 1e4])
def test_a_power_that_is_0_in_float32_is_no_problem(beta: float) -> None:
    """0.01 ** 50 underflows for every class of a flat row of 100: 0 / 0."""
    flat = torch.full((1, 100), 0.01)
    torch.testing.assert_close(enhanced_era(flat, beta), flat)
    sharp = enhanced_era(torch.tensor([[0.5, 0.3, 0.2, 0.0]]), beta)
    torch.testing.assert_close(sharp, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.1, 20))
def test_simplex_order_and_permutation(seed: int, n: int, beta: float) -> None:
    values, strategy = random_labels(seed, n), SCARLET(beta=beta)
    teacher = strategy.fuse(stack_of(values))
    assert simplex_error(teacher) < 1e-5
    assert torch.equal(teacher.argmax(dim=-1), values.mean(dim=0).argmax(dim=-1))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = strategy.fuse(stack_of(values[order].contiguous()))
    torch.testing.assert_close(moved, teacher, atol=1e-5, rtol=1e-4)


def test_no_samples_are_a_teacher_of_no_samples() -> None:
    teacher, _ = fuse_in_blocks(SCARLET(), stack_of(torch.zeros(3, 0, 4)), InlineBlocks())
    assert teacher.values.shape == (0, 4)


@pytest.mark.parametrize(
    "parameters", [{"beta": 0.0}, {"beta": -1.0}, {"beta": float("nan")}, {"duration": -1}]
)
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        SCARLET(**parameters)


# -- the cache ---------------------------------------------------------------------------------


@pytest.fixture
def lessons(monkeypatch):
    """Return ``{round: {client: the teacher it learns from, whole}}``, filled by inline runs."""
    seen: dict[int, dict[int, torch.Tensor]] = defaultdict(dict)
    learn = Exchange.learn

    def watched(self, phase, lesson):
        assert lesson.mask is None
        seen[phase.round][phase.index] = lesson.values.clone()
        return learn(self, phase, lesson)

    monkeypatch.setattr(Exchange, "learn", watched)
    return seen


class Asking(SCARLET):
    """Notes how many samples it asks for."""

    def asked(self, plan):
        ids = super().asked(plan)
        self.sizes = [*getattr(self, "sizes", []), len(ids)]
        return ids


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(50, [60, 0, 0, 0, 0, 0]), (3, [60, 0, 0, 60, 0, 0]), (1, [60] * 6), (0, [60] * 6)],
)
def test_a_label_is_used_for_as_many_rounds_as_it_lasts(duration: int, expected: list) -> None:
    strategy = Asking(duration=duration)
    result = fedkd.simulate(strategy, **SMALL | {"rounds": 6, "clients": 2, "fit.epochs": 0})
    assert strategy.sizes == expected
    assert result.rounds["from_cache"].to_pylist() == [60 - size for size in expected]


def test_a_cache_saves_bytes_both_ways() -> None:
    runs = {
        duration: fedkd.simulate(SCARLET(duration=duration), **SMALL).rounds
        for duration in (0, 1, 50)
    }
    for name in ("bytes_up", "bytes_down"):
        none, one, cached = (runs[duration][name].to_pylist() for duration in (0, 1, 50))
        assert none == one
        assert none[0] == cached[0]
        assert max(cached[1:]) < 0.5 * min(none[1:])
        assert sum(cached) < 0.6 * sum(none)


def test_the_teacher_is_the_one_without_a_cache_if_nothing_changed(lessons) -> None:
    still = {"fit.epochs": 0, "distil.epochs": 0}
    fedkd.simulate(SCARLET(duration=50), **SMALL | still)
    cached = {round_: dict(one) for round_, one in lessons.items()}
    lessons.clear()
    fedkd.simulate(SCARLET(duration=0), **SMALL | still)
    assert list(cached) == list(lessons) == [1, 2, 3]
    for round_, by_client in lessons.items():
        for client, teacher in by_client.items():
            assert torch.equal(cached[round_][client], teacher)
            assert simplex_error(teacher) < 1e-5


def test_the_teacher_is_as_old_as_the_cache_says(lessons) -> None:
    fedkd.simulate(SCARLET(duration=2), **SMALL | {"rounds": 4})
    first = {round_: teachers[0] for round_, teachers in lessons.items()}
    assert torch.equal(first[1], first[2])
    assert torch.equal(first[3], first[4])
    assert (first[2] - first[3]).abs().max() > 1e-3


@pytest.mark.parametrize(
    "troubles",
    [
        {"fraction": 0.5},
        {"fraction": 0.6, "transfer.per_round": 25},
        {"faults.dropout": 0.3, "faults.straggler": 0.2, "faults.crash": 0.2},
    ],
)
def test_clients_that_were_absent_get_what_they_missed(lessons, troubles) -> None:
    """Whatever happened before, all clients of a round learn from the server's own cache."""

    class Kept(SCARLET):
        def refine(self, plan, knowledge, teacher):
            whole = super().refine(plan, knowledge, teacher)
            kept[plan.number] = whole.values.clone()
            return whole

    kept: dict[int, torch.Tensor] = {}
    result = fedkd.simulate(Kept(duration=4), **SMALL | {"rounds": 9, "clients": 6} | troubles)
    assert len(lessons) > 5
    for round_, by_client in lessons.items():
        for teacher in by_client.values():
            assert torch.equal(teacher, kept[round_])
    some = [of for of in result.rounds["from_cache"].to_pylist() if of]
    assert some


def test_a_client_that_fails_with_its_lesson_gets_it_again(lessons, monkeypatch) -> None:
    calls = []
    distil = Standard.distil

    def clumsy(self, clients, x, teachers, objective):
        calls.append(clients[0].index)
        if clients[0].index == 1 and calls.count(1) == 1:
            raise RuntimeError("out of coffee")
        return distil(self, clients, x, teachers, objective)

    monkeypatch.setattr(Standard, "distil", clumsy)
    result = fedkd.simulate(SCARLET(), **SMALL)
    assert result.rounds["rejected"].to_pylist() == [1, 0, 0]
    assert sorted(lessons[2]) == [0, 1, 2, 3, 4]
    assert torch.equal(lessons[2][1], lessons[2][0])
    down = result.rounds["bytes_down"].to_pylist()
    assert down[1] > down[2]  # client 1 had it all again in round 2


class Mistaken(SCARLET):
    """Believes in round 1 that client 1 holds labels that it never had."""

    def refine(self, plan, knowledge, teacher):
        whole = super().refine(plan, knowledge, teacher)
        self.state["held"][1] |= plan.number == 1
        return whole


def test_a_hole_in_the_cache_is_no_teacher(lessons) -> None:
    """A client without a label says so, and the server then sends it everything."""
    result = fedkd.simulate(Mistaken(), **SMALL | {"clients": 2})
    assert result.rounds["rejected"].to_pylist() == [1, 0, 0]
    assert [sorted(lessons[round_]) for round_ in (1, 2, 3)] == [[0], [0, 1], [0, 1]]


@pytest.mark.parametrize("attack", ["lma", "hips"])
def test_an_attacker_that_is_asked_for_nothing_sends_nothing(attack: str) -> None:
    hostile = {"attack": {"name": attack, "fraction": 0.4}}
    result = fedkd.simulate(SCARLET(duration=3), **SMALL | {"rounds": 5} | hostile)
    assert result.summary["rejected"] == 0
    sent = result.rounds["bytes_up"].to_pylist()
    assert sent[0] == sent[3] > 10 * max(sent[1], sent[2], sent[4])


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    shared = {"fraction": 0.6, "model": MIXED, "transfer.per_round": 40, "record.knowledge": True}
    shared = SMALL | shared | {"strategy": {"name": "scarlet", "duration": 2}}
    whole = fedkd.simulate(**shared | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate(run_dir=str(run_dir), **shared | {"rounds": 2})
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.rounds["bytes_down"].to_pylist() == whole.rounds["bytes_down"].to_pylist()
    assert whole.summary["rejected"] == 0
    assert sum(whole.rounds["from_cache"].to_pylist()) > 0
