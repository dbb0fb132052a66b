"""Transfer sets of noise: in the data's range, a cluster for each class, from the run's stream."""

import numpy as np
import pytest
import torch

import fedkd
from fedkd.config import RunConfig
from fedkd.data import build_federation, corpora, partition_notes
from fedkd.data.noise import drawn
from fedkd.errors import ConfigError
from tests.support import TINY

NOISE = {**TINY, "transfer.data": "noise"}
LIMITS = np.array([0.0, -5.0]), np.array([1.0, 5.0])


def federation(tmp_path, data="digits", seed=0, **transfer):
    config = RunConfig(clients=4, seed=seed)
    config.transfer.data = "noise"
    for name, value in {"size": 40, **transfer}.items():
        setattr(config.transfer, name, value)
    config.check()
    return build_federation(config, *corpora(config, data), tmp_path)


def test_clusters_without_spread_are_one_sample_each():
    x = drawn("clusters", 0.0, 4, 20, LIMITS, 0)
    assert len(np.unique(x, axis=0)) == 4
    assert (x[:4] == x[4:8]).all()


@pytest.mark.parametrize("kind", ["clusters", "gaussian", "uniform"])
def test_noise_stays_in_range_and_has_its_moments(kind):
    x = drawn(kind, 0.1, 1, 20_000, LIMITS, 0)
    assert (x >= LIMITS[0]).all()
    assert (x <= LIMITS[1]).all()
    expected = 0.1 if kind != "uniform" else 12**-0.5
    assert np.abs(x.std(axis=0) / (LIMITS[1] - LIMITS[0]) - expected).max() < 0.01
    assert np.abs(x.mean(axis=0) - [0.5, 0]).max() < 0.1


def test_pictures_of_noise_are_scaled_as_the_clients_are(tmp_path):
    made = federation(tmp_path, noise="uniform")
    own, other = made.corpus, made.transfer_corpus
    assert (other.mean, other.std, other.x_train.dtype) == (own.mean, own.std, np.uint8)
    assert int(other.x_train.max()) <= int(own.x_train.max()) == 16
    assert made.transfer().shape == (40, 1, 8, 8)
    assert not made.transfer_labelled
    assert any("uniform in the range" in note for note in partition_notes(made))


def test_clusters_are_of_classes_or_of_bins(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    told = [federation(tmp_path / "classes")]
    config = RunConfig(clients=3, task={"name": "regression"})
    config.data.samples_per_client, config.data.alpha = 20, None
    config.transfer.data, config.transfer.size = "noise", 40
    told.append(build_federation(config, *corpora(config, (numbers, numbers[:, 0])), tmp_path))
    for made, one in zip(told, ("class", "bin of the target"), strict=True):
        assert any(f"clusters, one a {one}, in" in note for note in partition_notes(made))


def test_noise_is_a_function_of_the_seed(tmp_path):
    made = [federation(tmp_path / str(i), seed=s).transfer() for i, s in enumerate((0, 0, 1))]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_columns_keep_their_own_ranges(tmp_path):
    rng = np.random.default_rng(0)
    x = (rng.uniform(size=(200, 2)) * [1, 1000]).astype("float32")
    made = federation(tmp_path, data=(x, np.arange(200) % 2), noise="uniform").transfer()
    assert made[:, 0].max() <= 1 < 500 < made[:, 1].max() <= 1000


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"transfer.labelled": True}, "transfer.labelled"),
        ({"transfer.split": [1, 2]}, "transfer.split"),
        ({"transfer.data": None, "transfer.noise": "uniform"}, "transfer.noise"),
        ({"transfer.noise": "uniform", "transfer.spread": 0.2}, "transfer.spread"),
        ({"transfer.noise": "perlin"}, "transfer.noise"),
        ({"transfer.spread": -1.0}, "transfer.spread"),
        ({"data": (["a b", "b c", "c d", "d a"] * 20, [0, 1] * 40)}, "transfer.data"),
    ],
    ids=["labelled", "split", "idle", "spread", "kind", "negative", "texts"],
)
def test_what_noise_cannot_be_is_refused(settings, key):
    if "data" in settings:
        settings = settings | {"data.samples_per_client": None, "data.alpha": None}
    with pytest.raises(ConfigError) as caught:
        fedkd.simulate("knfu", **NOISE | settings)
    assert caught.value.key == key


def test_a_folder_called_noise_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "noise").mkdir()
    monkeypatch.chdir(tmp_path)
    result = fedkd.simulate("fedmd", **NOISE | {"run_dir": "run", "transfer.mixup": 0.5})
    assert "data: noise\n" in (result.run_dir / "config.yaml").read_text()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_tables_of_either_task_run(task):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype("float32")
    y = np.arange(120) % 3 if task == "classification" else rng.normal(size=120)
    own = NOISE | {"data": (x, y), "data.samples_per_client": None, "fit.lr": 0.01}
    assert fedkd.simulate("fedmd", **own).summary["rounds"] == 2


@pytest.mark.slow
def test_ray_agrees():
    """With Flower's engine, too: `test_engines_agree`, as of mixed samples and aligned heads."""
    pair = [fedkd.simulate("knfu", **NOISE | {"engine": one}) for one in ("ray", "inline")]
    assert pair[0].summary["digest"] == pair[1].summary["digest"]
