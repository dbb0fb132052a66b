"""Oracles: who answers what, and that answers depend on nothing but the question."""

import numpy as np
import pytest
import torch
from fedkd.clients.oracles import UNANSWERED, Oracle
from fedkd.clients.oracles.abstaining import Abstaining
from fedkd.clients.oracles.capped import Capped
from fedkd.clients.oracles.exact import Exact
from fedkd.clients.oracles.noisy import Noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedkd.errors import ConfigError
from fedkd.plugins import available, create
from fedkd.rng import torch_generator

CLASSES = 4
quick = settings(max_examples=25, deadline=None)
ORACLES = [
    Exact(),
    Noisy(p=0.3, classes=CLASSES),
    Abstaining(p=0.3),
    Capped(per_cycle=5),
]
every = pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)


def questions(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.permutation(count)), torch.tensor(rng.integers(0, CLASSES, count))


def test_the_room_is_complete() -> None:
    assert sorted(available("clients.oracles", Oracle)) == [
        "abstaining",
        "capped",
        "exact",
        "noisy",
    ]


@every
@pytest.mark.parametrize("count", [0, 1, 40])
def test_answers_have_their_shape_and_the_unanswered_no_label(oracle: Oracle, count: int) -> None:
    labels, answered = oracle.label(*questions(count), torch_generator(0))
    assert labels.dtype == torch.int64
    assert answered.dtype == torch.bool
    assert labels.shape == answered.shape == (count,)
    assert bool((labels[~answered] == UNANSWERED).all())
    assert bool(((labels[answered] >= 0) & (labels[answered] < CLASSES)).all())


@every
def test_answers_are_pure(oracle: Oracle) -> None:
    ids, truth = questions(40)
    before = vars(oracle).copy(), truth.clone(), torch.get_rng_state()
    first, second = (oracle.label(ids, truth, torch_generator(5)) for _ in range(2))
    assert first[0].equal(second[0])
    assert first[1].equal(second[1])
    first[0].fill_(77)  # what is returned is the caller's own
    assert truth.equal(before[1])
    assert vars(oracle) == before[0]
    assert torch.get_rng_state().equal(before[2])


@every
def test_an_unequal_number_of_labels_is_refused(oracle: Oracle) -> None:
    with pytest.raises(ValueError, match=r"shapes \[2\] and \[3\], not both \[queries\]"):
        oracle.label(torch.arange(2), torch.arange(3), torch_generator(0))


@quick
@given(st.integers(0, 50), st.integers(0, 10_000))
def test_exact_is_the_truth(count: int, seed: int) -> None:
    ids, truth = questions(count, seed)
    labels, answered = Exact().label(ids, truth, torch_generator(seed))
    assert labels.equal(truth)
    assert bool(answered.all())


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_noise_of_one_is_wrong_everywhere_and_uniform(classes: int) -> None:
    truth = torch.zeros(9000, dtype=torch.int64) + 1
    labels, answered = Noisy(1.0, classes=classes).label(
        torch.arange(9000), truth, torch_generator(0)
    )
    share = torch.bincount(labels, minlength=classes) / 9000
    expected = torch.full((classes,), 1 / (classes - 1))
    expected[1] = 0.0
    torch.testing.assert_close(share, expected, atol=0.02, rtol=0)
    assert share[1] == 0
    assert bool(answered.all())


@pytest.mark.parametrize("p", [0.0, 0.25])
def test_noise_flips_its_share(p: float) -> None:
    ids, truth = questions(8000)
    labels, _ = Noisy(p, classes=CLASSES).label(ids, truth, torch_generator(1))
    assert (labels != truth).double().mean().item() == pytest.approx(p, abs=0.02 if p else 0)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_abstaining_leaves_its_share_open_and_is_right_otherwise(p: float) -> None:
    ids, truth = questions(8000)
    labels, answered = Abstaining(p).label(ids, truth, torch_generator(1))
    silent = (~answered).double().mean().item()
    assert silent == pytest.approx(p, abs=0.02 if 0 < p < 1 else 0)
    assert labels[answered].equal(truth[answered])


@quick
@given(st.integers(0, 30), st.integers(0, 30))
def test_capped_answers_the_first(count: int, cap: int) -> None:
    ids, truth = questions(count)
    labels, answered = Capped(cap).label(ids, truth, torch_generator(0))
    assert answered.tolist() == [True] * min(count, cap) + [False] * max(count - cap, 0)
    assert labels[:cap].equal(truth[:cap])


@pytest.mark.parametrize("classes", [0, 1, 3])
def test_noise_must_know_the_number_of_classes(classes: int) -> None:
    with pytest.raises(ValueError, match=f"classes={classes} must be the number of classes"):
        Noisy(classes=classes).label(torch.tensor([0]), torch.tensor([3]), torch_generator(0))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "noisy", "p": 1.5}, r"p=1.5: must be in \[0, 1\]"),
        ({"name": "abstaining", "p": -0.1}, r"p=-0.1: must be in \[0, 1\]"),
        ({"name": "capped", "per_cycle": -1}, "per_cycle=-1: must be at least 0"),
        ({"name": "exact", "cost": -1.0}, "cost=-1.0: must be at least 0 and finite"),
        ({"name": "noisy", "cost": float("nan")}, "cost=nan: must be a number"),
    ],
)
def test_bad_parameters_are_refused(node: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create(node, "clients.oracles", Oracle, "oracle")


def test_parameters_come_from_the_configuration() -> None:
    oracle = create({"name": "noisy", "p": 0.2, "cost": 3.0}, "clients.oracles", Oracle, "oracle")
    assert (oracle.p, oracle.cost) == (0.2, 3.0)
    assert Exact().cost == 1.0
