"""Which columns are used: found by name, said aloud, asked for where it is not clear."""

import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from typer.testing import CliRunner

from fedkd import simulate
from fedkd.callbacks import Callback
from fedkd.cli.app import app
from fedkd.config import RunConfig
from fedkd.config.overrides import merge
from fedkd.data import build_federation, corpora, partition_notes, prepare
from fedkd.data.columns import Choice
from fedkd.data.sources import find
from fedkd.errors import ConfigError


def rows(n=40, seed=0, **more):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return {"a": rng.normal(size=n) + y, "b": rng.normal(size=n), "label": y, **more}


def folder(path: Path, train: dict, test: dict | None = None, **features) -> Path:
    path.mkdir()
    for name, split in {"train": train, "test": test}.items():
        if split is not None:
            made = datasets.Dataset.from_dict(split)
            for column, kind in features.items():
                made = made.cast_column(column, kind)
            made.to_parquet(str(path / f"{name}.parquet"))
    return path


def configure(data: Path | str, **settings):
    base = {"data.name": str(data), "clients": 2, "data.alpha": None, "transfer.size": 8}
    return merge(RunConfig(), **base | settings)


def swapped(given: dict) -> dict:
    return {name: given[name] for name in sorted(given, reverse=True)}


def test_a_test_split_in_another_order_is_matched_by_name():
    train, test = rows(), rows(10, seed=1)
    made = {
        split: datasets.Dataset.from_dict(given)
        for split, given in {"train": train, "test": swapped(test)}.items()
    }
    corpus = prepare(datasets.DatasetDict(made))
    assert corpus.features == ["a", "b"]
    expected = np.stack([test["a"], test["b"]], axis=1).astype(np.float32)
    assert np.array_equal(corpus.x_test, expected)


def test_a_transfer_set_in_another_order_is_matched_by_name(tmp_path):
    given = rows(seed=1)
    other = folder(tmp_path / "other", {"extra": given["b"], **swapped(given)})
    config = configure(folder(tmp_path / "own", rows()), **{"transfer.data": str(other)})
    federation = build_federation(config, *corpora(config), tmp_path / "out")
    drawn = np.load(federation.path)["transfer"]
    at = np.setdiff1d(np.arange(40), prepare_test(other))[drawn]
    expected = np.stack([given["a"], given["b"]], axis=1)[at].astype(np.float32)
    assert np.array_equal(federation.transfer().numpy(), expected)
    assert "extra (the others lack it)" in partition_notes(federation)[1]


def prepare_test(folder: Path) -> np.ndarray:
    """Return the rows of a folder without a test split that become one."""
    whole = datasets.Dataset.from_parquet(str(folder / "train.parquet"))["a"][:]
    kept = prepare(folder, choice=Choice(features=("a",))).x_test[:, 0]
    return np.flatnonzero(np.isin(np.asarray(whole, np.float32), kept))


def test_other_names_are_refused(tmp_path):
    renamed = {{"a": "width"}.get(name, name): value for name, value in rows(12).items()}
    splits = {"train": rows(), "test": renamed}
    message = r"lacks the feature columns a; .*by name"
    with pytest.raises(ConfigError, match=message) as caught:
        prepare({name: datasets.Dataset.from_dict(part) for name, part in splits.items()})
    assert caught.value.key == "data"
    other = folder(tmp_path / "other", renamed)
    config = configure(folder(tmp_path / "own", rows()), **{"transfer.data": str(other)})
    with pytest.raises(ConfigError, match=message) as caught:
        corpora(config)
    assert caught.value.key == "transfer.data"


@pytest.mark.parametrize("named", ["the clients'", "the transfer set's"])
def test_columns_and_arrays_without_names_are_not_matched_by_position(named, tmp_path):
    given = rows()
    pairs = np.stack([given["b"], given["a"]], axis=1).tolist()
    parts = [folder(tmp_path / "named", given)]
    parts.append(folder(tmp_path / "unnamed", {"x": pairs, "label": given["label"]}))
    data, transfer = parts if named == "the clients'" else parts[::-1]
    config = configure(data, **{"transfer.data": str(transfer)})
    with pytest.raises(ConfigError, match=r"transfer\.data=.*has column names"):
        build_federation(config, *corpora(config), tmp_path / "out")


@pytest.mark.slow
def test_what_datasets_says_of_other_columns_stays_off_the_terminal(tmp_path):
    given = folder(tmp_path / "data", rows(), rows(10, more=[1.0] * 10))
    command = [sys.executable, "-m", "fedkd", "run", f"data={given}", "engine=inline"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: data=")


def test_data_frames_are_matched_by_name_too():
    import pandas as pd

    train, test = (pd.DataFrame(rows(n)).drop(columns="label") for n in (40, 10))
    y = np.arange(40) % 2
    corpus = prepare((train, y, test[["b", "a"]], y[:10]))
    assert np.array_equal(corpus.x_test, test.to_numpy(np.float32))
    with pytest.raises(ConfigError, match="lacks the feature columns a"):
        prepare((train, y, test.rename(columns={"a": "c"}), y[:10]))
    with pytest.raises(ConfigError, match="column names"):
        prepare((train, y, test.to_numpy(), y[:10]))


INDICES = ["__index_level_0__", "Unnamed: 0", "id", "ID", "row_id", "PassengerId", "index"]


@pytest.mark.parametrize("name", INDICES)
def test_index_columns_are_left_out(name):
    corpus = prepare(datasets.Dataset.from_dict(rows(**{name: list(range(40))})))
    assert corpus.features == ["a", "b"]
    assert f"left out: {name} (an index)" in corpus.note
    assert name in corpus.columns("train").column_names  # partitioners may use it


def test_words_that_only_look_like_an_index_are_features():
    names = {"grid": 1, "valid": 2, "acid": 3, "indexes": 4, "mid": 5}
    corpus = prepare(datasets.Dataset.from_dict(rows(**{n: [v, 0] * 20 for n, v in names.items()})))
    assert corpus.features == ["a", "b", *names]


def test_the_column_that_partitions_is_no_feature(tmp_path):
    path = folder(tmp_path / "own", rows(60, site=[0, 0, 1] * 20), rows(9, site=[0, 0, 1] * 3))
    target = "flwr_datasets.partitioner.NaturalIdPartitioner"
    plain = corpora(configure(path))[0]
    assert plain.features == ["a", "b", "site"]
    node = {"_target_": target, "partition_by": "site"}
    config = configure(path, **{"data.partitioner": node})
    federation = build_federation(config, *corpora(config), tmp_path / "out")
    assert federation.corpus.features == ["a", "b"]
    assert "site (the samples are dealt by it)" in partition_notes(federation)[0]
    assert sorted(federation.sizes)[1] > sorted(federation.sizes)[0]
    assert corpora(configure(path))[0].features == ["a", "b", "site"]


def test_one_line_says_what_is_used_and_what_is_not(tmp_path):
    more = {
        "name": [f"x{i}" for i in range(40)],
        "when": [None] * 40,
        "tags": [[1]] * 40,
        "fine_label": [1] * 40,
    }
    path = folder(tmp_path / "own", rows(**more))
    line = (
        "data own: classification, 2 classes (0, 1), 32 training and 8 test rows; label 'label', "
        "features a, b; numbers as given, not standardised; left out: name (each row has its own; "
        "name it in data.features to use it), when (null), tags (no scalars), fine_label (another "
        "label)"
    )
    run_dir = tmp_path / "run"
    settings = [f"data={path}", "clients=2", "rounds=1", "transfer.size=8", "data.alpha=null"]
    settings += ["engine=inline", "strategy=fedmd"]
    done = CliRunner().invoke(app, ["run", *settings, f"run_dir={run_dir}"])
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[0] == f"note: {line}"
    assert line in (run_dir / "log.txt").read_text()
    out = ["--out", str(tmp_path / "a.png")]
    for command in (["data", *settings, *out], ["run", *settings, "--dry-run"]):
        shown = CliRunner().invoke(app, command)
        assert line in shown.stdout


def test_plain_pictures_need_no_line(png_folder, tmp_path):
    (said,) = prepare(png_folder).note.split("; ", 1)[1:]
    assert said == "label 'label', pictures image; left out: writer (beside it)"
    whole = datasets.load_dataset(str(png_folder), cache_dir=str(tmp_path))
    assert prepare(whole.remove_columns("writer")).note is None
    assert prepare("digits").note is None


CLASSES = datasets.ClassLabel(names=["x", "y"])


def test_the_label_is_not_guessed(tmp_path):
    y = (np.arange(40) % 2).tolist()
    columns = {"a": np.arange(40.0), "cut": y, "colour": y[::-1]}
    path = folder(tmp_path / "own", columns, cut=CLASSES, colour=CLASSES)
    with pytest.raises(ConfigError, match=r"data\.label=COLUMN \(allowed: colour, cut\)") as caught:
        corpora(configure(path))
    assert caught.value.key == "data.label"
    done = CliRunner().invoke(app, ["run", f"data={path}"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: data.label=null")
    for label, other in (("cut", "colour"), ("colour", "cut")):
        corpus = corpora(configure(path, **{"data.label": label}))[0]
        assert corpus.features == ["a", other]
        assert corpus.y_train.sum() > 0
        assert f"label {label!r}" in corpus.note
    given = {"name": str(path), "label": "cut", "alpha": None}
    run = simulate("fedmd", given, clients=2, rounds=1, engine="inline", transfer={"size": 8})
    assert run.summary["alma_global"]["last"] is not None


@pytest.mark.parametrize(
    ("label", "message"),
    [("price", "real numbers"), ("prise", "did you mean 'price'"), ("when", "no classes")],
)
def test_columns_that_are_no_label_are_refused(label, message):
    import datetime

    when = [datetime.datetime(2020, 1, 1)] * 40
    data = datasets.Dataset.from_dict(rows(price=np.linspace(1, 2, 40), when=when))
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(data, choice=Choice(label, targets="classes"))
    assert caught.value.key == "data.label"


def test_what_is_called_label_is_the_label():
    y = (np.arange(40) % 2).tolist()
    data = datasets.Dataset.from_dict(rows(cut=y, shade=y))
    for name in ("cut", "shade"):
        data = data.cast_column(name, CLASSES)
    assert prepare(data).features == ["a", "b", "cut", "shade"]
    alone = data.remove_columns(["label", "shade"])
    assert prepare(alone).features == ["a", "b"]
    two = datasets.Dataset.from_dict(rows()).rename_column("label", "target")
    with pytest.raises(ConfigError, match=r"data\.label=COLUMN \(allowed: labels, target\)"):
        prepare(two.add_column("labels", y))


def test_data_without_columns_have_no_label_to_choose():
    with pytest.raises(ConfigError, match="digits has no columns") as caught:
        corpora(configure("digits", **{"data.label": "cut"}))
    assert caught.value.key == "data.label"


@pytest.mark.parametrize("value", [2, -1])
def test_labels_beyond_the_names_are_refused(tmp_path, value):
    import pyarrow.parquet as pq

    path = folder(tmp_path / "own", rows(), rows(8), label=CLASSES)
    table = pq.read_table(path / "test.parquet")
    at = table.column_names.index("label")
    spoilt = table.set_column(at, table.schema.field(at), [[value] * 8])
    pq.write_table(spoilt, path / "test.parquet")
    with pytest.raises(ConfigError, match=rf"holds {value}, and there are classes 0 to 1"):
        prepare(path)


def test_real_tables_ask_for_their_label(real_data):
    for name, labels in {"diamonds": "clarity, color, cut", "novels": "author, book"}.items():
        real_data(name)
        with pytest.raises(ConfigError, match=f"allowed: {labels}"):
            corpora(configure(real_data(name)))


def test_the_index_of_a_frame_is_said_to_be_left_out():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": range(40), "a": [1, 2] * 20, "b": [1, 2] * 20}).set_index("age")
    (note,) = simulate_notes(frame, [0, 1] * 20)
    assert note.endswith("not standardised; left out: age (the frame's index)")


def test_classes_that_are_never_tested_are_said():
    x, y = np.random.default_rng(0).random((40, 3), np.float32), np.arange(40) % 4
    note, alone = simulate_notes(x, y, x[y < 2], y[y < 2])
    assert note == "data arrays: its test split lacks classes of clients (3): not in local accuracy"
    assert alone.endswith("clients with none of its test split's classes, so no local accuracy: 1")


def simulate_notes(*data):
    told = []

    class Notes(Callback):
        def on_run_start(self, run):
            told.extend(run.notes)

    small = {"clients": 4, "rounds": 1, "engine": "inline", "transfer.size": 5, "model": "mlp"}
    simulate("local", data=data, callbacks=[Notes()], **small, **{"data.samples_per_client": 5})
    return told


@pytest.mark.parametrize("empty", ["", " "])
def test_no_name_is_not_the_working_directory(empty):
    with pytest.raises(ConfigError, match=r"data= *: not a known data set"):
        find(empty)
