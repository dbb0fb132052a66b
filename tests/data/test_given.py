"""Data given as Python objects: what is natural works, the rest is refused in one line."""

import shutil

import datasets
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedkd import ConfigError, simulate
from fedkd.cli.app import app
from fedkd.data import prepare
from fedkd.data.columns import Choice

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = np.arange(24) % 3
SMALL = {"clients": 2, "rounds": 1, "engine": "inline", "transfer.size": 4, "data.alpha": None}


def table(y=Y, **columns) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"a": X[:, 0], "b": X[:, 1], "label": y} | columns)


def digest(data) -> str:
    return simulate("fedmd", data, **SMALL).summary["digest"]


def test_splits_by_name_run():
    whole = {"train": table(), "test": table().select(range(9))}
    first = digest(datasets.DatasetDict(whole))
    assert digest(whole) == first
    pairs = (X[:, :2], Y), (X[:9, :2], Y[:9])
    assert digest(pairs) == digest((*pairs[0], *pairs[1])) == first
    with pytest.raises(ConfigError, match="or 2 clients"):
        digest([list(pair) for pair in pairs])


def test_settings_are_no_splits():
    assert simulate("fedmd", {"name": "digits"}, **SMALL).summary["data"] == "digits"
    with pytest.raises(ConfigError, match=r"data\.nme=.*did you mean 'data\.name'"):
        simulate("fedmd", {"nme": "digits"}, **SMALL)


@pytest.mark.parametrize(
    "y",
    [
        Y[:, None],
        np.eye(3)[Y],
        np.eye(3, dtype=bool)[Y].tolist(),
        [[one] for one in Y.tolist()],
        Y.astype(float),
        Y.astype(np.uint8),
        Y.astype(object),
        torch.tensor(Y),
        list(torch.tensor(Y)),
    ],
)
def test_labels_in_other_forms_are_the_same_labels(y):
    corpus = prepare((X, y, X, y))
    assert np.array_equal(corpus.y_train, Y)
    assert corpus.class_names == ["0", "1", "2"]


@pytest.mark.parametrize("form", ["bytes", "text", "S", "O", "U"])
def test_labels_of_text_and_of_bytes_are_the_same(form):
    words = [("ü", "b", "c")[one] for one in Y]
    y = [word.encode() for word in words] if form in ("bytes", "S", "O") else words
    if form == "O":
        y = np.array(y, dtype=object)
    given = (X, np.array(y) if form in "SU" else y)
    for corpus in (prepare((*given, *given)), prepare({"train": table(y), "test": table(y)})):
        assert corpus.class_names == ["b", "c", "ü"]
        assert corpus.y_train.tolist()[:3] == [2, 0, 1]


def test_one_hot_columns_are_classes():
    rows = np.eye(3, dtype=int)[Y].tolist()
    corpus = prepare({"train": table(rows), "test": table(rows)})
    assert np.array_equal(corpus.y_train, Y)
    assert prepare(table([[one] for one in Y.tolist()])).classes == 3


MIXED = [0, "a"] * 12


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([None, *Y[1:].tolist()], "missing"),
        ([float("nan"), *Y[1:].tolist()], "missing"),
        (MIXED, "int, str"),
        (np.array(MIXED, dtype=object), "int, str"),
        ([b"\xff"] * 24, "no text"),
        (np.ones((24, 3)), r"\[24, 3\] are neither"),
        ([[0, 1], [1]] * 12, "labels|shape"),
        (Y + 0.5, "real numbers"),
        (np.full(24, np.inf), "real numbers"),
        (Y + 1j, "complex"),
        (np.full(24, "2020-01-01", "M8[D]"), "datetime"),
        ([{"a": 1}] * 24, "dict"),
        (np.full(24, 2**64 - 1, np.uint64), "too large"),
    ],
)
def test_what_is_no_label_is_refused(y, message):
    with pytest.raises(ConfigError, match=message) as caught:
        prepare((X, y), choice=Choice(targets="classes"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([{"a": 1}] * 24, "struct"),
        ([[0, 1], [1]] * 12, "unequal length"),
        ([None] * 24, "missing"),
        ([[1, None]] * 24, "missing"),
        ([b"\xff"] * 24, "no text"),
    ],
)
def test_columns_that_are_no_label_are_refused(y, message):
    with pytest.raises(ConfigError, match=rf"column 'label': .*{message}"):
        prepare(table(y))


def test_columns_of_arrays_are_samples():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 3, 5, 6), dtype=np.uint8)
    kinds = {"x": datasets.Array3D((3, 5, 6), "uint8"), "label": datasets.Value("int64")}
    rows = {"x": list(pixels), "label": Y.tolist()}
    typed = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    corpus = prepare({"train": typed, "test": typed})
    assert np.array_equal(corpus.x_train, np.moveaxis(pixels, 1, -1))
    assert corpus.shape == (3, 5, 6)
    nested = datasets.Dataset.from_dict({"x": X.tolist(), "label": Y})
    corpus = prepare({"train": nested, "test": nested})
    assert np.array_equal(corpus.x_train, X)
    assert corpus.note.endswith("24 training and 24 test rows; label 'label', array x")
    assert prepare(table(tags=X.tolist())).features == ["a", "b"]
    ragged = datasets.Dataset.from_dict({"x": [[1.0], [1.0, 2.0]] * 12, "label": Y})
    with pytest.raises(ConfigError, match="shape"):
        prepare(ragged)


def test_streams_and_transforms_are_refused():
    stream = table().to_iterable_dataset()
    for data in (stream, {"train": stream}, datasets.IterableDatasetDict(train=stream)):
        with pytest.raises(ConfigError, match=r"IterableDataset.*streaming=True"):
            simulate("fedmd", data, **SMALL)
    with pytest.raises(ConfigError, match=r"transform.*map\(\)"):
        prepare(table().with_transform(lambda rows: rows))
    assert prepare(table().with_format("torch")).path == prepare(table()).path


def test_empty_splits_are_refused():
    empty = table().select([])
    with pytest.raises(ConfigError, match=r"test split: .*without rows"):
        prepare({"train": table(), "test": empty})
    with pytest.raises(ConfigError, match="without rows"):
        prepare(empty)
    with pytest.raises(ConfigError, match="not empty"):
        prepare((X, Y, X[:0], Y[:0]))


def test_a_test_split_of_another_type_is_named():
    x = np.zeros((24, 4, 4))
    with pytest.raises(ConfigError, match=r"uint8 \(4, 4\) and test float32 \(4, 4\)"):
        prepare((x.astype(np.uint8), Y, x, Y))


def test_a_test_split_without_the_label_is_refused():
    other = table().rename_column("label", "target")
    with pytest.raises(ConfigError, match="lacks the label column 'label'"):
        prepare({"train": table(), "test": other})
    with pytest.raises(ConfigError, match="numbers in one split and text"):
        prepare({"train": table(), "test": table(["a", "b"] * 12)})


def test_a_folder_with_a_script_is_refused_in_one_line(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    table().to_parquet(str(folder / "train.parquet"))
    prepare(folder)
    (folder / "own.py").write_text("raise SystemExit('never run')")
    shutil.rmtree(prepare(folder).path)  # else nothing is read again
    done = CliRunner().invoke(app, ["run", f"data={folder}"])
    assert done.exit_code == 2
    assert "scripts are no longer supported" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"data": {"name": np.zeros((300, 300))}},
        {"data": {"name": np.zeros((300, 300)).tolist()}},
        {"fit": {"lr": np.linspace(0, 1, 9000)}},
        {"strategy": {"name": "knfu", "beta": np.linspace(0, 1, 9000).tolist()}},
        {"rounds": torch.zeros(300, 300)},
        {"transfer": {"size": [X, Y]}},
        {"seed": "x" * 9000},
    ],
)
def test_errors_never_print_whole_arrays(settings):
    with pytest.raises(ConfigError) as caught:
        simulate(**SMALL | settings)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert caught.value.key in str(caught.value)
