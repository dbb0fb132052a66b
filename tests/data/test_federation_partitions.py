import json
import random

import numpy as np
import pyarrow as pa
import pytest
import torch
from flwr_datasets.partitioner import Partitioner
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.config import RunConfig
from fedkd.data import Federation, build_federation, partition_table, prepare
from fedkd.data.partition import partition
from fedkd.data.sampling import balanced, proportional
from fedkd.errors import ConfigError


def configure(clients=10, seed=0, validation=0.0, transfer=None, per_round=None, **data):
    config = RunConfig(clients=clients, seed=seed)
    config.data.validation = validation
    config.transfer.size, config.transfer.per_round = transfer, per_round
    for key, value in data.items():
        setattr(config.data, key, value)
    return config


def build(config, tmp_path, data="digits", transfer=None):
    return build_federation(config, prepare(data), transfer and prepare(transfer), tmp_path)


def held(federation):
    return [federation.indices(k) for k in range(federation.clients)]


def test_default_run_gives_100_clients_12_digits_each(tmp_path):
    federation = build(configure(100), tmp_path)
    assert federation.sizes.tolist() == [12] * 100
    assert federation.samples_per_client == 12
    assert federation.transfer_size == 200
    x, y = federation.client(99)
    assert x.shape == (12, 1, 8, 8)
    assert np.array_equal(np.bincount(y, minlength=10), federation.histogram(99))
    assert (federation.histograms > 0).sum(axis=1).mean() < 5  # alpha 0.1 is very skewed


@settings(max_examples=15, deadline=None)
@given(
    clients=st.integers(1, 60),
    seed=st.integers(0, 5),
    alpha=st.sampled_from([None, 0.1, 1.0, 100.0]),
    transfer=st.integers(1, 400),
    validation=st.sampled_from([0.0, 0.3, 0.99]),
)
def test_nobody_shares_a_sample(tmp_path_factory, clients, seed, alpha, transfer, validation):
    config = configure(clients, seed, validation, transfer, alpha=alpha, samples_per_client=10)
    federation = build(config, tmp_path_factory.mktemp("out"))
    split = np.load(federation.path)
    dealt = np.concatenate([split["train"], split["validation"], split["transfer"]])
    assert len(np.unique(dealt)) == len(dealt) == clients * 10 + transfer
    assert (np.diff(split["train_offsets"]) > 0).all()
    assert (federation.sizes == 10).all()
    for rows in held(federation):
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("name", ["auto", "iid", "dirichlet", "pathological", "shard"])
def test_short_names_are_deterministic_by_seed(tmp_path, name):
    config = configure(10, alpha=0.5, partitioner={"name": name})
    first, second = build(config, tmp_path / "a"), build(config, tmp_path / "b")
    assert all(map(np.array_equal, held(first), held(second)))
    other = build(configure(10, 1, alpha=0.5, partitioner={"name": name}), tmp_path / "c")
    assert not all(map(np.array_equal, held(first), held(other)))
    assert not torch.equal(first.transfer(), other.transfer())


def test_short_names_mean_what_they_say(tmp_path):
    whole = prepare("digits").y_train.size - 200
    iid = build(configure(10, partitioner={"name": "iid"}, samples_per_client=120), tmp_path)
    assert iid.sizes.tolist() == [120] * 10
    assert (iid.histograms > 0).all()
    dirichlet = build(configure(10, partitioner={"name": "dirichlet"}), tmp_path)
    assert dirichlet.sizes.sum() == whole
    assert len(set(dirichlet.sizes)) > 5
    assert dirichlet.samples_per_client is None
    two = build(configure(10, partitioner={"name": "pathological"}), tmp_path)
    assert ((two.histograms > 0).sum(axis=1) == 2).all()
    shard = build(
        configure(10, partitioner={"name": "shard", "num_shards_per_partition": 1}), tmp_path
    )
    assert ((shard.histograms > 0).sum(axis=1) <= 2).all()
    assert len(set(shard.sizes)) == 1
    sized = build(configure(10, partitioner={"name": "shard"}, samples_per_client=20), tmp_path)
    assert sized.sizes.tolist() == [20] * 10


def test_auto_follows_alpha_and_samples_per_client(tmp_path, png_folder):
    free = build(configure(10, alpha=0.5, transfer=20), tmp_path, png_folder)
    assert free.sizes.sum() == 180
    assert len(set(free.sizes)) > 1
    assert free.samples_per_client is None
    equal = build(configure(10, alpha=0.5, samples_per_client=9), tmp_path, png_folder)
    assert equal.sizes.tolist() == [9] * 10
    flat = build(configure(10, alpha=None, transfer=20), tmp_path, png_folder)
    assert flat.sizes.tolist() == [18] * 10
    minimum = configure(4, alpha=1.0, min_partition_size=25, transfer=20)
    assert build(minimum, tmp_path, png_folder).sizes.min() >= 25


def test_partitioner_parameters_pass_through(tmp_path):
    node = {"name": "auto", "alpha": 1000.0}
    federation = build(configure(10, partitioner=node, samples_per_client=100), tmp_path)
    assert (federation.histograms > 0).all()


def test_default_size_shrinks_to_what_there_is(tmp_path):
    federation = build(configure(200), tmp_path)
    assert federation.samples_per_client == 6
    assert federation.sizes.tolist() == [6] * 200


def test_target_partitioners(tmp_path, png_folder):
    module = "flwr_datasets.partitioner"
    node = {"name": "auto", "_target_": f"{module}.SizePartitioner", "partition_sizes": [5, 40, 9]}
    sized = build(configure(3, partitioner=node, transfer=20), tmp_path, png_folder)
    assert sized.sizes.tolist() == [5, 40, 9]
    node = {"_target_": f"{module}.NaturalIdPartitioner", "partition_by": "writer"}
    natural = build(configure(5, partitioner=node, transfer=20), tmp_path, png_folder)
    writers = natural.corpus.columns("train").column("writer").to_numpy()
    assert [set(writers[rows]) for rows in held(natural)] == [{f"writer-{k}"} for k in range(5)]
    node = {"_target_": f"{module}.LinearPartitioner"}
    linear = build(configure(4, partitioner=node, transfer=20), tmp_path, png_folder)
    assert (np.diff(linear.sizes) > 0).all()


class Every(Partitioner):
    """A user's own partitioner, which plays with the global generators."""

    def __init__(self, num_partitions, seed=0):
        super().__init__()
        self.count = num_partitions
        np.random.seed(seed)
        random.seed(seed)

    @property
    def num_partitions(self):
        return self.count

    def load_partition(self, partition_id):
        return self.dataset.select(range(partition_id, len(self.dataset), self.count))


def test_own_partitioner_cannot_disturb_global_generators(tmp_path, monkeypatch, png_folder):
    monkeypatch.setattr("flwr_datasets.partitioner.Every", Every, raising=False)
    before = random.getstate(), np.random.get_state()[1].tolist()
    node = {"_target_": "flwr_datasets.partitioner.Every"}
    federation = build(configure(3, partitioner=node, transfer=20), tmp_path, png_folder)
    assert federation.sizes.tolist() == [60, 60, 60]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_partitioning_is_silent(tmp_path, png_folder, capfd, recwarn):
    node = {
        "_target_": "flwr_datasets.partitioner.NaturalIdPartitioner",
        "partition_by": "writer",
    }
    build(configure(5, partitioner=node, transfer=20), tmp_path, png_folder)
    build(configure(50, samples_per_client=3), tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


def test_classes_missing_from_the_pool_do_no_harm():
    pool = pa.table({"index": range(40), "label": [3, 7] * 20})
    parts = partition(configure(4, alpha=0.5), pool, samples_per_client=10)
    assert sorted(np.concatenate(parts).tolist()) == list(range(40))


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"clients": 5000}, "clients", "more clients than training samples"),
        ({"samples_per_client": 500}, "data.samples_per_client", "at most 123 each"),
        ({"partitioner": {"name": "shrad"}}, "data.partitioner", "did you mean 'shard'"),
        (
            {"partitioner": {"name": "shard", "num_shards": 2}},
            "data.partitioner.num_shards",
            "num_shards_per_partition",
        ),
        (
            {"partitioner": {"name": "dirichlet"}, "alpha": None},
            "data.alpha",
            "needs a value",
        ),
        (
            {"partitioner": {"name": "dirichlet"}, "min_partition_size": 120},
            "data.min_partition_size",
            "raise data.alpha",
        ),
        (
            {"partitioner": {"_target_": "flwr_datasets.partitioner.SizePartitionr"}},
            "data.partitioner._target_",
            "did you mean 'flwr_datasets.partitioner.SizePartitioner'",
        ),
        ({"partitioner": {"_target_": "json.dumps"}}, "data.partitioner._target_", "subclasses"),
        (
            {"partitioner": {"_target_": "flwr_datasets.partitioner.ContinuousPartitioner"}},
            "data.partitioner.strictness",
            "needs a value",
        ),
        (
            {
                "partitioner": {
                    "_target_": "flwr_datasets.partitioner.NaturalIdPartitioner",
                    "partition_by": "writer",
                }
            },
            "data.partitioner.partition_by",
            "no such column",
        ),
        (
            {
                "partitioner": {"_target_": "flwr_datasets.partitioner.NaturalIdPartitioner"},
                "clients": 7,
            },
            "clients",
            "makes 10 partitions",
        ),
        (
            {
                "partitioner": {
                    "_target_": "flwr_datasets.partitioner.SizePartitioner",
                    "partition_sizes": [5, 0, 5],
                },
                "clients": 3,
            },
            "data.partitioner",
            "client 1|greater|zero",
        ),
        (
            {"partitioner": {"name": "pathological", "num_classes_per_partition": 11}},
            "data.partitioner.num_classes_per_partition",
            "greater than the number",
        ),
        ({"transfer": 1438}, "transfer.size", "has 1438 samples"),
        ({"transfer": 5, "per_round": 6}, "transfer.per_round", "more than the transfer set"),
    ],
)
def test_impossible_requests_name_the_key(tmp_path, changes, key, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(configure(**changes), tmp_path)
    assert caught.value.key == key


class Lazy(Every):
    def load_partition(self, partition_id):
        return self.dataset.select(range(0 if partition_id == 2 else 5))


def test_no_parameter_may_be_nan(tmp_path):
    node = {"name": "dirichlet", "alpha": float("nan")}
    with pytest.raises(ConfigError, match=r"^data\.partitioner\.alpha=nan: must be a number"):
        build(configure(4, partitioner=node), tmp_path)


def test_empty_client_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("flwr_datasets.partitioner.Lazy", Lazy, raising=False)
    node = {"_target_": "flwr_datasets.partitioner.Lazy"}
    with pytest.raises(ConfigError, match="client 2 without samples"):
        build(configure(4, partitioner=node), tmp_path)


def test_exhausted_classes_name_alpha(tmp_path):
    config = configure(20, alpha=1e-4, samples_per_client=61)
    with pytest.raises(ConfigError, match="raise it") as caught:
        build(config, tmp_path)
    assert caught.value.key == "data.alpha"


def test_transfer_set_has_the_class_shares_of_the_data(tmp_path):
    federation = build(configure(transfer=300), tmp_path)
    counts = np.bincount(federation.transfer_labels(), minlength=10)
    expected = 300 * np.bincount(federation.corpus.y_train) / len(federation.corpus.y_train)
    assert np.abs(counts - expected).max() <= 1
    assert federation.transfer().shape == (300, 1, 8, 8)


def test_transfer_set_from_another_data_set(tmp_path, png_folder):
    federation = build(configure(transfer=50), tmp_path, transfer=png_folder)
    assert federation.transfer().shape == (50, 1, 8, 8)
    assert federation.transfer_labels().max() < 4
    assert len(held(federation)[0]) == 12
    again = Federation.open(json.loads(json.dumps(federation.locator)))
    assert torch.equal(again.transfer(), federation.transfer())


def test_transfer_data_must_fit(tmp_path, png_folder):
    x, y = np.zeros((20, 5), np.float32), np.arange(20) % 4
    with pytest.raises(ConfigError, match=r"\(5,\)") as caught:
        build_federation(configure(), prepare("digits"), prepare((x, y)), tmp_path)
    assert caught.value.key == "transfer.data"
    config = configure(transfer=50)
    config.transfer.labelled = True
    with pytest.raises(ConfigError, match="classes of shapes"):
        build(config, tmp_path, transfer=png_folder)


def test_same_data_set_for_transfer_stays_disjoint(tmp_path):
    config = configure(10, alpha=None, samples_per_client=100)
    federation = build(config, tmp_path, transfer="digits")
    split = np.load(federation.path)
    assert not set(split["train"]) & set(split["transfer"])


def test_open_gives_the_same_federation(tmp_path):
    federation = build(configure(validation=0.25), tmp_path)
    again = Federation.open(json.loads(json.dumps(federation.locator)))
    for k in (0, 9):
        assert torch.equal(again.client(k)[0], federation.client(k)[0])
        assert len(again.validation(k)[1]) == 3
        assert len(again.client(k)[1]) == 9
    assert again.clients == 10
    assert again.samples_per_client == 12
    with pytest.raises(IndexError):
        again.client(10)


def test_test_split_whole_and_class_balanced(tmp_path):
    federation = build(configure(), tmp_path)
    assert len(federation.test()[1]) == 359 == federation.test_counts().sum()
    x, y = federation.test(100)
    assert np.bincount(y).tolist() == [10] * 10
    assert torch.equal(build(configure(seed=4), tmp_path).test(100)[0], x)
    assert len(federation.test(10_000)[1]) == 359


def test_partition_table(tmp_path):
    rows = partition_table(build(configure(validation=0.25), tmp_path))
    assert [row["client"] for row in rows] == list(range(10))
    assert all(row["samples"] == 12 and row["validation"] == 3 for row in rows)
    assert all(0 < row["main_share"] <= 1 for row in rows)


@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=6), data=st.data())
def test_draws_respect_the_classes(counts, data):
    labels = np.repeat(np.arange(len(counts)), counts)
    size = data.draw(st.integers(0, len(labels)))
    seed = data.draw(st.integers(0, 99))
    for draw in (proportional, balanced):
        rows = draw(labels, size, seed)
        assert len(rows) == size
        assert (np.diff(rows) > 0).all()
        assert np.array_equal(rows, draw(labels, size, seed))
    drawn = np.bincount(labels[proportional(labels, size, seed)], minlength=len(counts))
    assert np.abs(drawn - size * np.array(counts) / max(len(labels), 1)).max() <= 1
    level = np.bincount(labels[balanced(labels, size, seed)], minlength=len(counts))
    open_classes = level[level < np.array(counts)]
    assert not len(open_classes) or level.max() - open_classes.min() <= 1


@pytest.mark.slow
def test_real_mnist_class_wise_dirichlet(real_data, tmp_path):
    real_data("mnist")
    federation = build(configure(100), tmp_path, "mnist")
    assert federation.sizes.sum() == 59_000
    assert federation.transfer_size == 1000
    equal = build(configure(100, samples_per_client=590), tmp_path, "mnist")
    assert equal.sizes.tolist() == [590] * 100
