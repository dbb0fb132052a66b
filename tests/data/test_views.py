"""Augmented views of transfer samples: what they are, and that all who look see the same."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fedkd
from fedkd.config import RunConfig
from fedkd.data import Federation, build_federation, partition_notes, prepare
from fedkd.data.views import Views
from fedkd.errors import ConfigError
from tests.support import TINY

ONE = np.ones((), np.float32)


def made(kind, *, strength=0.1, flip=False, scale=ONE, count=4, seed=0):
    return Views(count, seed, strength, flip, scale, kind)


def federation(tmp_path, **transfer):
    config = RunConfig(clients=4)
    for name, value in {"size": 40, **transfer}.items():
        setattr(config.transfer, name, value)
    return build_federation(config, prepare("digits"), None, tmp_path)


def test_originals_come_first_and_everybody_sees_the_same_views(tmp_path):
    plain = federation(tmp_path / "plain")
    some = federation(tmp_path / "some", hard=True, views=3, labelled=True)
    x = some.transfer()
    assert (some.transfer_size, some.versions, len(x)) == (40, 4, 160)
    assert torch.equal(x[:40], plain.transfer())
    moved = [(x[40 * v : 40 * v + 40] - x[:40]).flatten(1).norm(dim=1) for v in (1, 2, 3)]
    assert torch.stack(moved).min() > 0
    assert torch.equal(some.transfer_labels(), plain.transfer_labels().repeat(4))
    again = Federation.open(json.loads(json.dumps(some.locator)))
    ids = torch.tensor([3, 45, 159, 80])
    assert torch.equal(again.transfer(ids), x[ids])
    assert all(np.array_equal(plain.indices(k), some.indices(k)) for k in range(4))
    assert any("40 samples have 3 views each" in note for note in partition_notes(some))


def test_views_of_mixed_samples_are_views_of_the_mixture(tmp_path):
    mixed = federation(tmp_path / "mixed", mixup=1.0).transfer()
    both = federation(tmp_path / "both", mixup=1.0, hard=True, views=1)
    assert torch.equal(both.transfer()[:40], mixed)
    assert torch.equal(both.transfer()[40:], both.views.of(mixed, torch.arange(40, 80)))


@given(st.integers(0, 2**62), st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True))
def test_a_view_depends_on_its_number_and_on_nothing_beside(seed, numbers):
    views, x = made("tables", seed=seed), torch.zeros(len(numbers), 3)
    together = views.of(x, torch.tensor(numbers))
    alone = [views.of(x[:1], torch.tensor([number]))[0] for number in numbers]
    assert torch.equal(together, torch.stack(alone))
    assert len(together.unique(dim=0)) == len(numbers)


def blob(height, width, y, x):
    """Return a picture with a spot, and where the spot's centre is."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4.0)[None, None]


@pytest.mark.parametrize("number", range(5, 13))
def test_a_spot_goes_where_turn_shift_and_zoom_take_it(number):
    height, width, strength = 40, 60, 0.15
    y, x = 14.0, 36.0
    moved = made("pictures", strength=strength, scale=0 * ONE).of(
        blob(height, width, y, x), torch.tensor([number])
    )[0, 0]
    rng = np.random.Generator(np.random.Philox(0, counter=[0, number, 0, 0]))
    turn, right, down, larger, _ = rng.uniform(-1, 1, 5)
    angle, zoom = math.pi * strength * turn, 1 + strength * abs(larger)
    # where the picture's spot at q comes from: q = R p / zoom + shift, in pixels from the middle
    from_middle = np.array([x - (width - 1) / 2, y - (height - 1) / 2])
    shifted = from_middle - strength * np.array([right * width, down * height])
    back = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    expected = zoom * back @ shifted + np.array([(width - 1) / 2, (height - 1) / 2])
    mass = moved / moved.sum()
    found = [(mass.sum(0) * torch.arange(width)).sum(), (mass.sum(1) * torch.arange(height)).sum()]
    assert np.allclose(found, expected, atol=0.05)


def test_pictures_are_mirrored_only_if_that_is_asked_for():
    x, numbers = torch.rand(64, 1, 6, 5), torch.arange(64, 128)
    for flip in (False, True):
        views = made("pictures", strength=1e-6, scale=0 * ONE, flip=flip).of(x, numbers)
        same, mirrored = (
            torch.isclose(views, one, atol=1e-3).flatten(1).all(dim=1) for one in (x, x.flip(-1))
        )
        assert bool((same | mirrored).all())
        assert (0.3 < mirrored.float().mean() < 0.7) if flip else bool(same.all())


def test_noise_of_a_table_has_each_columns_deviation():
    scale = np.array([0.0, 1.0, 5.0], np.float32)
    views = made("tables", strength=0.2, scale=scale)
    x = torch.randn(4000, 3)
    noise = views.of(x, torch.arange(4000, 8000)) - x
    assert torch.allclose(noise.std(dim=0), 0.2 * torch.tensor(scale), rtol=0.05)
    assert noise.mean(dim=0).abs().max() < 0.05


@given(st.integers(0, 99), st.floats(0.01, 1.0), st.integers(1, 12))
def test_a_text_loses_words_and_neither_order_nor_all_of_them(number, strength, words):
    text = torch.arange(1, 13) * (torch.arange(12) < words)
    view = made("texts", strength=strength).of(text[None], torch.tensor([number]))[0]
    left = view[view != 0]
    assert len(left) >= 1
    assert bool((view[len(left) :] == 0).all())
    assert bool((left.diff() > 0).all())
    assert left.max() <= words


def test_texts_lose_about_the_share_of_words():
    text = torch.ones(400, 50, dtype=torch.int64)
    view = made("texts", strength=0.3).of(text, torch.arange(400, 800))
    assert abs((view != 0).float().mean() - 0.7) < 0.01


X, Y = np.random.default_rng(0).normal(size=(120, 3)).astype("float32"), np.arange(120) % 3
OWN = {"data": (X, Y), "data.samples_per_client": None, "transfer.size": 30}
WORDS = {"data": (["a b", "b c", "c d", "d a"] * 20, [0, 1] * 40), "transfer.size": 20}


@pytest.mark.parametrize(
    ("settings", "key", "problem"),
    [
        ({"transfer.views": 0}, "transfer.views", r"in \[1, 1000\]"),
        ({"transfer.explore": 0.0}, "transfer.explore", r"in \(0, 1\]"),
        ({"transfer.explore": 1.5}, "transfer.explore", r"in \(0, 1\]"),
        ({"transfer.strength": 0.0}, "transfer.strength", r"in \(0, 1\]"),
        ({"transfer.hard": False, "transfer.views": 2}, "transfer.views", "is for transfer.hard"),
        ({"transfer.hard": False, "transfer.flip": True}, "transfer.flip", "is for transfer.hard"),
        ({**OWN, "transfer.flip": True}, "transfer.flip", "mirrors pictures"),
        ({**OWN, "data": ((X > 0).astype("float32"), Y)}, "transfer.hard", "no column"),
    ],
)
def test_views_that_make_no_sense_are_refused(settings, key, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        fedkd.simulate("fedmd", **{**TINY, "transfer.hard": True, **settings})
    assert caught.value.key == key


def test_tables_keep_columns_of_two_values_and_texts_are_shortened(tmp_path):
    x = np.column_stack([X, (X[:, 0] > 0)]).astype("float32")
    hard = {**TINY, "transfer.hard": True}
    table = fedkd.simulate("fedmd", run_dir=tmp_path / "table", **{**hard, **OWN, "data": (x, Y)})
    split = dict(np.load(table.run_dir / "split.npz"))
    assert (split["views_scale"] > 0).tolist() == [True, True, True, False]
    settings = {"data.samples_per_client": None, "data.alpha": None, **WORDS}
    settings |= {"rounds": 4, "transfer.strength": 0.5}
    texts = fedkd.simulate("fedmd", run_dir=tmp_path / "texts", **{**hard, **settings})
    assert texts.rounds["views_kept"].to_pylist()[-1] > 0
