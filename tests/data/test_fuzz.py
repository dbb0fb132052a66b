"""Whatever the data are, they are used, or refused in one line: random tables and arrays."""

import datetime
import decimal
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from typer.testing import CliRunner

from fedkd import ConfigError, simulate
from fedkd.cli.app import app
from fedkd.data import prepare
from fedkd.data.columns import Choice
from fedkd.data.decode import quiet

LONGEST = 2500
quick = settings(
    deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=True
)


def refused(error: ConfigError) -> None:
    text = str(error)
    assert text.isprintable()
    assert len(text) < LONGEST
    assert error.key
    assert error.problem


def attempt(trial: Callable[[], Any]) -> bool:
    """Return whether it went well; the only other way out is a `ConfigError` of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", DeprecationWarning)
        try:
            trial()
        except ConfigError as error:
            refused(error)
            return False
    return True


def png(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PNG, COLOUR = png((4, 4)), png((4, 4, 3))
NAMES = st.sampled_from(
    ["label", "labels", "fine_label", "target", "image", "img", "id", "__index_level_0__", "index"]
) | st.text(st.characters(codec="utf-8"), max_size=6)
SCALARS: list[st.SearchStrategy[Any]] = [
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2),
    st.integers(-1, 1),
    st.floats(),
    st.floats(-1, 1),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.binary(max_size=4),
    st.sampled_from([b"a", b"b"]),
    st.none(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(datetime.timedelta(0), datetime.timedelta(9)),
    st.decimals(-99, 99, places=2).map(decimal.Decimal),
    st.lists(st.integers(0, 1), min_size=2, max_size=2),
    st.sampled_from([[0, 1], [1, 0]]),
    st.just([1]),
    st.lists(st.floats(-1, 1), max_size=3),
    st.just([[1.0, 2.0], [3.0, 4.0]]),
    st.fixed_dictionaries({"a": st.integers(0, 3)}),
    st.sampled_from([PNG, COLOUR, PNG[:40], b""]).map(lambda b: {"bytes": b, "path": None}),
    st.just({"bytes": PNG, "path": None}),
    st.just({"bytes": None, "path": "/nowhere.png"}),
]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind = draw(st.sampled_from(SCALARS))
    values = draw(st.lists(kind, min_size=rows, max_size=rows))
    if draw(st.integers(0, 9)) == 0:
        values = [None, *values[1:]][:rows]
    made = pa.array(values)
    if pa.types.is_string(made.type) and draw(st.booleans()):
        made = made.dictionary_encode()
    return made


@st.composite
def tables(draw: st.DrawFn, least: int = 0) -> pa.Table:
    rows = draw(st.integers(least, 12))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    if draw(st.booleans()) and rows:
        names = ["label", "a", *(name for name in names if name not in ("label", "a"))]
        fine = [pa.array(np.arange(rows) % 2), pa.array(np.arange(rows) / 2)]
        rest = [draw(columns(rows)) for _ in names[2:]]
        return pa.table(dict(zip(names, [*fine, *rest], strict=True)))
    return pa.table({name: draw(columns(rows)) for name in names})


def dataset(table: pa.Table, names: list[str] | None) -> datasets.Dataset:
    made = datasets.Dataset(pa.table(table))
    kind = made.features.get("label")
    if names and isinstance(kind, datasets.Value) and kind.dtype == "int64":
        made = made.cast_column("label", datasets.Value("int64"))
        made.info.features["label"] = datasets.ClassLabel(names=names)
    return made


@settings(quick, max_examples=60)
@given(
    table=tables(),
    test=st.none() | tables(),
    names=st.none() | st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
    label=st.none() | NAMES,
    chosen=st.none() | st.lists(NAMES, min_size=1, max_size=2),
    at=st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_tables_as_objects(table, test, names, label, chosen, at):
    if label is not None and len(label) and table.num_columns > 2:
        label = table.column_names[-1]
    try:
        with quiet():
            splits = {"train": dataset(table, names)}
            splits |= {} if test is None else {"test": dataset(test, names)}
    except (pa.ArrowException, ValueError, TypeError, NotImplementedError, KeyError):
        return  # `datasets` itself does not take it
    if at is not None:
        chosen = [table.column_names[i % table.num_columns] for i in at]
    choice = Choice(label or None, None if chosen is None else tuple(chosen))
    attempt(lambda: prepare(datasets.DatasetDict(splits), choice=choice))


@settings(quick, max_examples=20)
@given(table=tables(4), other=tables(1))
def test_tables_through_the_constants_of_others(table, other):
    try:
        with quiet():
            own, other = dataset(table, None), dataset(other, None)
    except (pa.ArrowException, ValueError, TypeError, NotImplementedError, KeyError):
        return
    made = []
    if attempt(lambda: made.append(prepare(own))) and made[0].features:
        (corpus,) = made
        features = tuple(corpus.features)
        choice = Choice(features=features, strict=False, encoding=corpus.encoding)
        if attempt(lambda: made.append(prepare(other, key="transfer.data", choice=choice))):
            assert made[1].encoding in (corpus.encoding, None)
            assert made[1].encoding is None or made[1].shape == corpus.shape


@settings(quick, max_examples=10)
@given(table=tables(), test=st.none() | tables(1))
def test_tables_as_folders(tmp_path_factory, table, test):
    folder = tmp_path_factory.mktemp("own")
    for name, split in {"train": table, "test": test}.items():
        if split is not None:
            pq.write_table(split, folder / f"{name}.parquet")
    attempt(lambda: prepare(folder))


@settings(quick, max_examples=4)
@given(table=tables(4), test=st.none() | tables(1), label=st.none() | NAMES)
def test_tables_on_the_command_line(tmp_path_factory, table, test, label):
    folder = tmp_path_factory.mktemp("own")
    for name, split in {"train": table, "test": test}.items():
        if split is not None:
            pq.write_table(split, folder / f"{name}.parquet")
    chosen = [f"data.label={label}"] if label else []
    chosen += [f"data.features=['{table.column_names[-1]}']"] if label else []
    settings = ["clients=2", "rounds=1", "engine=inline", "transfer.size=1", "data.alpha=null"]
    run_dir = f"run_dir={folder.parent / (folder.name + '-run')}"
    done = CliRunner().invoke(app, ["run", f"data={folder}", *settings, *chosen, run_dir])
    assert done.exit_code in (0, 2), done.output
    assert isinstance(done.exception, SystemExit | None)
    assert "Traceback" not in done.output
    if done.exit_code == 2:
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")


DTYPES = st.sampled_from(["u1", "i1", "i8", "u8", "f2", "f4", "f8", "c8", "?", "U2", "S2", "M8[D]"])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=5, max_side=5) | hnp.array_shapes(
    min_dims=1, max_dims=5, min_side=0, max_side=5
)


def elements(dtype: np.dtype) -> st.SearchStrategy[Any]:
    return hnp.from_dtype(dtype)


@st.composite
def samples(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(DTYPES))
    x = draw(hnp.arrays(dtype, draw(SHAPES), elements=elements(dtype)))
    if draw(st.booleans()):
        return x
    if dtype.kind == "f" and dtype.itemsize > 2 and draw(st.booleans()):
        return torch.tensor(x, requires_grad=True)
    return draw(st.sampled_from([x.tolist(), x.astype(object), list(x)]))


@st.composite
def labels(draw: st.DrawFn, count: int) -> Any:
    kind = draw(st.sampled_from(SCALARS))
    values = draw(st.lists(kind, min_size=count, max_size=count))
    if draw(st.integers(0, 4)) == 0:
        values = draw(st.lists(st.sampled_from([0, "a", None, 1.5, b"x"]), min_size=count))
    if draw(st.booleans()):
        return values
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


@settings(quick, max_examples=60)
@given(data=st.data())
def test_arrays(data):
    x = data.draw(samples())
    fine = np.arange(len(x)) % 2
    y = fine if data.draw(st.booleans()) else data.draw(labels(len(x)))
    fine = fine if data.draw(st.booleans()) else y
    form = data.draw(st.sampled_from(["two", "four", "nested", "lists"]))
    test = data.draw(samples()) if data.draw(st.booleans()) else x
    given_ = {
        "two": (x, fine),
        "four": (x, fine, test, y),
        "nested": ((x, fine), (test, y)),
        "lists": [x, fine],
    }[form]
    attempt(lambda: prepare(given_))


@settings(quick, max_examples=5)
@given(data=st.data())
def test_arrays_in_simulations(data):
    values = st.integers(0, 3)  # what makes models diverge is another matter
    x = data.draw(
        hnp.arrays(data.draw(st.sampled_from(["f4", "i8", "u1"])), (12, 3), elements=values)
    )
    y = data.draw(labels(12) | st.just(np.arange(12) % 2) | st.just(np.eye(2)[np.arange(12) % 2]))
    small = {"clients": 2, "rounds": 1, "engine": "inline", "transfer.size": 2, "data.alpha": None}
    attempt(lambda: simulate("fedmd", (x, y), **small))


OBJECTS = [
    None,
    {"train": 3},
    {"nme": "digits"},
    {"name": np.zeros((90, 90))},
    datasets.DatasetDict(),
    datasets.Dataset.from_dict({}),
    datasets.DatasetDict(test=datasets.Dataset.from_dict({"label": [1]})),
    datasets.IterableDataset.from_generator(lambda: iter([{"a": 1.0, "label": 0}])),
    iter([1, 2]),
    object(),
    np.zeros((4, 3)),
    torch.zeros(4, 3),
    (np.zeros((4, 3)),),
    (None, None),
    (np.zeros((4, 3)), None),
    ([], []),
    [[]],
    "",
    "\0",
    "a\nb",
    "~nobody/x",
    b"digits",
    Path("/nowhere"),
    float("nan"),
]


@pytest.mark.parametrize("given_", OBJECTS, ids=lambda value: type(value).__name__)
def test_what_is_no_data_is_refused_by_simulate(given_):
    assert not attempt(lambda: simulate(data=given_, clients=2, rounds=1, engine="inline"))
