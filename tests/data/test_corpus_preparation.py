import multiprocessing
import shutil
import socket
from pathlib import Path
from unittest.mock import Mock

import datasets
import numpy as np
import pytest
import torch

from fedkd.data import Corpus, prepare
from fedkd.data import cache as cache_module
from fedkd.data.columns import Choice
from fedkd.errors import ConfigError


def blobs(n=60, classes=3, features=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)).astype(np.float32), np.arange(n) % classes


def test_digits_has_one_fixed_stratified_test_split(tmp_path):
    first, second = prepare("digits", tmp_path / "a"), prepare("digits", tmp_path / "b")
    assert np.array_equal(first.x_test, second.x_test)
    assert len(first.y_train) + len(first.y_test) == 1797
    shares = [np.bincount(y) / len(y) for y in (first.y_train, first.y_test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    assert first.defaults == {"samples_per_client": 12, "transfer_size": 200}


def test_digits_are_standardised_images():
    corpus = prepare("digits")
    x, y = corpus.tensor("train")
    assert x.shape == (len(corpus.y_train), 1, 8, 8)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert x.mean().item() == pytest.approx(0, abs=1e-5)
    assert x.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_png_parquet_is_decoded_exactly(png_folder):
    corpus = prepare(str(png_folder))
    for split in ("train", "test"):
        expected = np.load(png_folder / f"{split}.npy")
        assert np.array_equal({"train": corpus.x_train, "test": corpus.x_test}[split], expected)
    assert corpus.class_names == ["circle", "cross", "square", "star"]
    assert corpus.shape == (1, 8, 8)
    assert corpus.x_train.dtype == np.uint8
    assert corpus.columns("train").column("writer")[3].as_py() == "writer-3"


def test_data_dir_is_looked_up_first_and_reads_the_same(png_folder, tmp_path, monkeypatch):
    shutil.copytree(png_folder, tmp_path / "mnist")
    monkeypatch.setenv("FEDKD_DATA_DIR", str(tmp_path))
    by_name = prepare("mnist")
    assert by_name.name == "mnist"
    assert np.array_equal(by_name.x_train, prepare(png_folder).x_train)


def test_a_name_outside_the_catalogue_is_looked_up_there_too(png_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDKD_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        prepare("shapes")
    assert f"no folder in $FEDKD_DATA_DIR ({tmp_path})" in str(caught.value)
    shutil.copytree(png_folder, tmp_path / "shapes")
    assert prepare("shapes").name == "shapes"
    monkeypatch.delenv("FEDKD_DATA_DIR")
    with pytest.raises(ConfigError, match=r"no folder in \$FEDKD_DATA_DIR \(not set\)"):
        prepare("shapes")


def test_local_data_do_not_touch_the_network(png_folder, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        calls.append(args)
        raise OSError("no network in this test")

    calls: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    prepare(png_folder, tmp_path)
    assert not calls


def test_standardisation_is_per_channel_of_the_training_split(png_folder):
    corpus = prepare(png_folder)
    pixels = np.load(png_folder / "train.npy") / 255
    assert corpus.mean == pytest.approx([pixels.mean()])
    assert corpus.std == pytest.approx([pixels.std()])
    x, _ = corpus.tensor("test", [5, 2])
    expected = (np.load(png_folder / "test.npy")[[5, 2]] / 255 - pixels.mean()) / pixels.std()
    assert np.allclose(x[:, 0].numpy(), expected, atol=1e-5)


def test_colour_images_become_channels_first(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8), np.arange(30) % 3
    corpus = prepare((x, y, x[:9], y[:9]), tmp_path)
    assert corpus.shape == (3, 6, 5)
    got, _ = corpus.tensor("train")
    assert torch.allclose(got.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(got.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    channels_first = prepare((np.moveaxis(x, -1, 1), y, np.moveaxis(x[:9], -1, 1), y[:9]), tmp_path)
    assert np.array_equal(channels_first.x_train, corpus.x_train)


def test_arrays_are_memory_mapped_and_read_only(png_folder):
    corpus = prepare(png_folder)
    for array in (corpus.x_train, corpus.y_train, corpus.x_test, corpus.y_test):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    assert Corpus.open(corpus.path).shape == corpus.shape


def test_tensors_are_fresh_and_aligned(png_folder):
    corpus = prepare(png_folder)
    for count in (1, 3, 7, 50):
        x, y = corpus.tensor("train", np.arange(count))
        assert x.data_ptr() % 64 == 0
        assert y.data_ptr() % 64 == 0
        assert x.is_contiguous()
    again, _ = corpus.tensor("train", np.arange(50))
    x.zero_()
    assert again.abs().sum() > 0


def test_second_prepare_decodes_nothing(png_folder, tmp_path, monkeypatch):
    from flwr_datasets import FederatedDataset

    prepare(png_folder, tmp_path)
    again = Mock(side_effect=AssertionError("decoded again"))
    monkeypatch.setattr(FederatedDataset, "load_split", again)
    prepare(png_folder, tmp_path)


def test_changed_files_are_decoded_again(png_folder, tmp_path):
    folder = tmp_path / "shapes"
    shutil.copytree(png_folder, folder)
    before = prepare(folder, tmp_path / "cache")
    (folder / "test-00000-of-00001.parquet").touch()
    assert prepare(folder, tmp_path / "cache").path == before.path  # the content is what counts
    shutil.copy(folder / "train-00000-of-00001.parquet", folder / "test-00000-of-00001.parquet")
    assert prepare(folder, tmp_path / "cache").path != before.path


def test_nothing_but_the_corpus_is_left_in_the_cache(png_folder, tmp_path):
    corpus = prepare(png_folder, tmp_path)
    assert list(tmp_path.iterdir()) == [corpus.path]
    broken = np.zeros((4, 3), np.float32), np.zeros(4), np.zeros((4, 2), np.float32), np.zeros(4)
    with pytest.raises(ConfigError, match="differ in shape"):
        prepare(broken, tmp_path)
    assert list(tmp_path.iterdir()) == [corpus.path]


def _prepare_in_process(folder, cache, barrier):
    barrier.wait()
    assert prepare(folder, cache).classes == 4


def test_two_processes_may_race(png_folder, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    racers = [
        context.Process(target=_prepare_in_process, args=(png_folder, tmp_path, barrier))
        for _ in range(2)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_losing_the_race_is_no_error(tmp_path):
    for name in ("target", "staged"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.npy").write_text(name)
        cache_module.seal(tmp_path / name, {"class_names": []})
    cache_module.publish(tmp_path / "staged", tmp_path / "target")
    assert (tmp_path / "target" / "a.npy").read_text() == "target"


def test_folder_with_only_a_train_split_gets_a_fixed_test_split(png_folder, tmp_path):
    (tmp_path / "only").mkdir()
    name = "train-00000-of-00001.parquet"
    shutil.copy(png_folder / name, tmp_path / "only" / name)
    corpus = prepare(tmp_path / "only")
    assert len(corpus.y_train) == 160
    assert np.bincount(corpus.y_test).tolist() == [10, 10, 10, 10]
    assert corpus.columns("test").num_rows == 40


def test_float_arrays_are_used_as_given():
    x, y = blobs()
    corpus = prepare((x, y, x[:6] + 1, y[:6]))
    assert corpus.shape == (5,)
    assert corpus.mean is None
    assert np.array_equal(corpus.tensor("train")[0].numpy(), x)
    assert np.array_equal(corpus.tensor("test", [3])[0].numpy(), x[3:4] + 1)


def test_labels_of_any_kind_become_classes():
    x, _ = blobs(6)
    corpus = prepare((x, np.array(["b", "a", "c"] * 2), x, np.array(["c", "a", "b"] * 2)))
    assert corpus.class_names == ["a", "b", "c"]
    assert corpus.y_train.tolist() == [1, 0, 2] * 2
    assert corpus.y_test.tolist() == [2, 0, 1] * 2
    assert prepare((x, np.array([3, 5, 9] * 2), x, np.array([9, 9, 9] * 2))).y_test[0] == 2


def test_same_content_same_corpus_other_content_another():
    x, y = blobs()
    path = prepare((x, y)).path
    assert prepare((x.copy(), y.copy())).path == path
    assert prepare((x + 1, y)).path != path


def test_equal_datasets_share_a_corpus():
    x, y = blobs(20)
    made = [datasets.Dataset.from_dict({"a": x[:, 0], "label": y}) for _ in range(2)]
    assert prepare(made[0]).path == prepare(made[1]).path


def test_relative_cache_works_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare("digits", "cache").path.is_absolute()


def test_tabular_dataset_keeps_text_columns_for_partitioners():
    x, y = blobs(20, classes=2, features=2)
    rows = {"a": x[:, 0], "b": x[:, 1], "label": y, "site": [f"s{i}" for i in range(20)]}
    corpus = prepare(datasets.Dataset.from_dict(rows))
    assert corpus.shape == (2,)
    assert corpus.x_train.dtype == np.float32
    assert set(corpus.columns("train").column_names) == {"a", "b", "label", "site"}


def test_dataset_dict_of_images_also_with_hub_cifar_names(png_folder, tmp_path):
    loaded = datasets.load_dataset(str(png_folder), cache_dir=str(tmp_path))
    plain = prepare(loaded)
    renamed = loaded.rename_columns({"image": "img", "label": "fine_label"})
    assert np.array_equal(prepare(renamed).x_train, plain.x_train)
    reverse = loaded["train"].select(range(199, -1, -1))
    mixed = prepare(datasets.DatasetDict(train=reverse, test=loaded["test"]))
    assert np.array_equal(mixed.x_train, plain.x_train[::-1])


def test_parquet_without_feature_metadata_is_recognised_by_name(png_folder, tmp_path):
    import pyarrow.parquet as pq

    for file in png_folder.glob("*.parquet"):
        pq.write_table(pq.read_table(file).replace_schema_metadata(), tmp_path / file.name)
    corpus = prepare(tmp_path)
    assert np.array_equal(corpus.x_train, np.load(png_folder / "train.npy"))
    assert corpus.class_names == ["0", "1", "2", "3"]


def parquet(folder: Path, rows: dict, name: str = "train.parquet") -> Path:
    folder.mkdir(exist_ok=True)
    datasets.Dataset.from_dict(rows).to_parquet(str(folder / name))
    return folder


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": [1.0, 2.0], "b": [0, 1]}, r"label column.*found 2 rows of: a, b"),
        ({"blob": [b"x", b"y"], "label": [0, 1]}, r"image column.*found 2 rows of: blob, label"),
        ({"a": [1.0, 2.0], "label": [0.5, 1.0]}, "no classes"),
        ({"a": [1.0, 2.0], "label": [0, None]}, "missing labels in 1 of 2 rows; drop"),
        ({"a": [1.0, np.inf], "label": [0, 1]}, "not finite"),
    ],
)
def test_unusable_columns_are_refused(tmp_path, rows, message):
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(parquet(tmp_path / "bad", rows), choice=Choice(targets="classes"))
    assert caught.value.key == "data"


def test_unusable_folders_are_refused(tmp_path, png_folder):
    with pytest.raises(ConfigError, match="no Parquet files"):
        prepare(tmp_path)
    folder = parquet(tmp_path / "test_only", {"a": [1.0], "label": [0]}, "test.parquet")
    with pytest.raises(ConfigError, match="no train split"):
        prepare(folder)
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(ConfigError, match="cannot be read"):
        prepare(tmp_path / "corrupt")


def test_unreadable_images_are_refused(png_folder, tmp_path):
    loaded = datasets.load_dataset(str(png_folder), cache_dir=str(tmp_path))["train"]
    cells = loaded.cast_column("image", datasets.Image(decode=False)).to_list()[:3]
    cells[1]["image"]["bytes"] = b"no image"
    with pytest.raises(ConfigError, match="image in row 1 cannot be read"):
        prepare(datasets.Dataset.from_list(cells, features=loaded.features))
    cells[1]["image"] = None
    with pytest.raises(ConfigError, match="image in row 1 cannot be read"):
        prepare(datasets.Dataset.from_list(cells, features=loaded.features))


def test_images_of_several_sizes_are_refused():
    images = [np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)]
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    data = datasets.Dataset.from_dict({"image": images, "label": [0, 1]}, features=features)
    with pytest.raises(ConfigError, match="differ in size"):
        prepare(data)


def test_unknown_name_lists_names_and_suggests():
    with pytest.raises(ConfigError, match=r"folder of Parquet.*did you mean 'mnist'") as caught:
        prepare("minst")
    assert caught.value.allowed == ["cifar10", "cifar100", "digits", "fashion_mnist", "mnist"]
    with pytest.raises(ConfigError) as caught:
        prepare("minst", key="transfer.data")
    assert caught.value.key == "transfer.data"


def test_unreachable_hub_names_the_local_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("FEDKD_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="uoft-cs/cifar100") as caught:
        prepare("cifar100")
    assert str(tmp_path / "cifar100") in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        (np.zeros((3, 2)), np.zeros(4)),
        (np.zeros((0, 2)), np.zeros(0)),
        (np.zeros((3, 2)), np.array([0.5, 1, 2])),
        (np.full((3, 2), np.nan), np.zeros(3)),
        (np.zeros((3, 2)),),
        17,
    ],
)
def test_unusable_objects_are_refused(data):
    with pytest.raises(ConfigError):
        prepare(data, choice=Choice(targets="classes"))


def test_unwritable_cache_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="FEDKD_CACHE_DIR"):
        prepare("digits", tmp_path / "file" / "cache")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "train", "mean", "std"),
    [
        ("mnist", (1, 28, 28), 60_000, [0.1307], [0.3081]),
        ("cifar10", (3, 32, 32), 50_000, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ],
)
def test_real_data(real_data, name, shape, train, mean, std):
    real_data(name)
    corpus = prepare(name)
    assert (corpus.shape, len(corpus.y_train), len(corpus.y_test)) == (shape, train, 10_000)
    assert corpus.mean == pytest.approx(mean, abs=1e-4)
    assert corpus.std == pytest.approx(std, abs=1e-4)
    x, y = corpus.tensor("test", [0])
    assert y.item() == {"mnist": 7, "cifar10": 3}[name]
    assert torch.isfinite(x).all()
