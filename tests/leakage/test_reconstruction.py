"""Pictures that come back: of gradients, and of paired logits."""

import numpy as np
import pytest
import torch
from fedkd.experiments.reproduce.paired_logits import VARIANTS, negative, write
from PIL import Image

import fedkd
from fedkd.data import prepare
from fedkd.errors import ConfigError
from fedkd.leakage.gradient_inversion import paired
from fedkd.leakage.inversion import infer_labels
from fedkd.leakage.painter import Painter
from fedkd.leakage.paired_logits import question
from fedkd.models import build
from fedkd.rng import scoped


def simulate(strategy, **settings):
    base = {"clients": 3, "rounds": 1, "engine": "inline", "record.knowledge": True}
    return fedkd.simulate(strategy, **base | settings)


ONE_STEP = {"data.samples_per_client": 2, "fit.epochs": 1, "data.alpha": 1.0}


def test_samples_come_back_from_a_single_step():
    result = simulate("fedavg", **ONE_STEP)
    found = fedkd.attack(result, "gradient_inversion", steps=250)
    mine, chance = found.results["reconstruction"], found.results["chance"]
    assert mine["mse"] < 0.2 * chance["mse"]
    assert mine["ssim"] > 0.9 > chance["ssim"] + 0.2
    assert len(found.details) == 3
    picture = Image.open(result.run_dir / "attacks" / "gradient_inversion.png")
    assert picture.size[0] > picture.size[1]


def test_a_client_that_did_not_move_gives_nothing_back():
    idle = simulate("fedavg", **ONE_STEP | {"fit.lr": 1e-12})  # the update drowns in rounding
    found = fedkd.attack(idle, "gradient_inversion", steps=50).results
    assert found["reconstruction"]["mse"] > 0.8 * found["chance"]["mse"]


@pytest.mark.parametrize(
    ("strategy", "settings", "problem"),
    [
        ("fedavg", {"data.samples_per_client": 12}, "raise samples="),
        ("fedmd", ONE_STEP, "share logits"),
    ],
)
def test_runs_that_cannot_be_inverted(strategy, settings, problem):
    result = simulate(strategy, **settings)
    with pytest.raises(ConfigError, match=problem):
        fedkd.attack(result, "gradient_inversion")


def test_labels_are_told_by_the_bias():
    with scoped(0):
        model = build("mlp", (1, 8, 8), 10)
        x = torch.randn(5, 1, 8, 8)
    y = torch.tensor([0, 3, 3, 7, 9])
    loss = torch.nn.functional.cross_entropy(model(x), y)
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    assert infer_labels(model, gradient, 5, x).tolist() == y.tolist()


def test_pairs_are_the_best_ones():
    a, b = np.zeros((4, 4, 1)), np.ones((4, 4, 1))
    true, guess, scores = paired([a, b], [b, a])
    assert all(np.array_equal(x, y) for x, y in zip(true, guess, strict=True))
    assert [mse for mse, _ in scores] == [0.0, 0.0]


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Digits, and a transfer set where 5-9 are to be seen as negatives only."""
    corpus = prepare("digits")
    images = (np.asarray(corpus.x_train) / np.asarray(corpus.x_train).max() * 255).astype(np.uint8)
    labels, half = np.asarray(corpus.y_train), len(corpus.y_train) // 2
    shown, known = images[half:].copy(), labels[half:]
    changed = (known >= 5) | (np.arange(len(known)) % 2 == 0)
    shown[changed] = negative(shown[changed])
    folder = tmp_path_factory.mktemp("variants")
    own = write(folder / "private", {"train": (images[:half], labels[:half])})
    return own, write(folder / "public", {"train": (shown, known)})


def test_paired_logits_are_drawn_and_judged(variants):
    private, public = variants
    settings = {"data.samples_per_client": 60, "data.alpha": 1.0, "transfer.data": str(public)}
    result = simulate("fedmd", data=str(private), **settings, **{"transfer.size": 300})
    found = fedkd.attack(result, "paired_logits", targets=[6, 8], epochs=4, clients=2)
    assert set(found.results) == {"PLI", "TBI", "public mean"}
    assert found.results["public mean"]["success"] == 0
    assert found.results["public mean"]["public"] == 1
    assert len(found.details) == 6
    assert found.picture.dtype == np.uint8
    again = fedkd.attack(result, "paired_logits", targets=[6, 8], epochs=4, clients=2)
    assert again.results == found.results
    with pytest.raises(ConfigError, match="target 10 is none of its 10 classes"):
        fedkd.attack(result, "paired_logits", targets=[10])


def test_nothing_is_private_about_a_class_that_the_transfer_set_shows():
    with pytest.raises(ConfigError, match=r"transfer\.data=ANOTHER"):
        fedkd.attack(simulate("fedmd"), "paired_logits")


def test_the_question_by_hand():
    asked = question(4, 5.0)
    high = np.exp(0.2)
    assert asked[2].tolist() == pytest.approx(
        [1 / (3 + high)] * 2 + [high / (3 + high), 1 / (3 + high)]
    )


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 9, 11)])
def test_pictures_of_every_size(shape):
    assert Painter(20, shape)(torch.zeros(2, 20)).shape == (2, *shape)


def test_variants_keep_the_shape():
    images = np.random.default_rng(0).integers(0, 255, (2, 28, 28)).astype(np.uint8)
    for change in VARIANTS.values():
        changed = change(images)
        assert changed.shape == images.shape
        assert changed.dtype == np.uint8
        assert not np.array_equal(changed, images)
