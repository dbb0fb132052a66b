"""Columns become numbers by constants of the training rows: whatever else there is, and said."""

import datetime
import json
import subprocess
import sys

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import LIMIT, fedkd

from fedkd import simulate
from fedkd.config import RunConfig
from fedkd.config.overrides import compose, merge
from fedkd.data import build_federation, corpora, partition_notes, prepare
from fedkd.data.codings import Number, from_json, to_json
from fedkd.data.columns import Choice
from fedkd.data.encoding import apply, fit
from fedkd.data.recognising import LEVELS
from fedkd.errors import ConfigError

NAMES = ("age", "dose", "sex", "seen")
TYPES = pa.schema(
    [
        ("age", pa.int64()),
        ("dose", pa.float64()),
        ("sex", pa.string()),
        ("seen", pa.timestamp("us")),
    ]
)
DAYS = st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2050, 1, 1))
ROW = st.tuples(
    st.none() | st.integers(-100, 100),
    st.none() | st.floats(-1e6, 1e6),
    st.none() | st.sampled_from(["f", "m", "", "nan", "\x00", "é"]),
    st.none() | DAYS,
)


def table_of(rows):
    made = [dict(zip(NAMES, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(made, schema=TYPES)


def fitted(table, names=NAMES, **choice):
    return fit(table, names, Choice(**choice), "data", "mine")


def encoded(table, codings):
    return apply(table, codings, "data", "mine")


@given(st.lists(ROW, min_size=4, max_size=20), st.lists(ROW, min_size=1, max_size=8))
def test_a_row_is_encoded_alone(training, others):
    codings, _ = fitted(table_of(training))
    if codings:
        whole = encoded(table_of(others), codings)
        alone = [encoded(table_of([row]), codings) for row in others]
        assert np.array_equal(whole, np.concatenate(alone))
        assert np.isfinite(whole).all()


@given(st.lists(ROW, min_size=4, max_size=20), st.randoms())
def test_the_order_of_rows_and_columns_does_not_matter(training, random):
    table = table_of(training)
    codings, left = fitted(table)
    names = random.sample(NAMES, len(NAMES))
    again, left_again = fitted(table_of(random.sample(training, len(training))), tuple(names))
    assert left == left_again
    assert [name for name in names if name in codings] == list(again)
    for name, coding in codings.items():
        assert type(coding) is type(again[name])
        for constant, value in vars(coding).items():  # sums of squares may differ in the last bits
            near = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            assert getattr(again[name], constant) == near


@given(st.lists(ROW, min_size=4, max_size=20), st.lists(ROW, min_size=1, max_size=8))
def test_codings_survive_json_to_the_last_bit(training, others):
    codings, _ = fitted(table_of(training))
    if codings:
        again = from_json(json.loads(json.dumps(to_json(codings))))
        assert again == codings
        table = table_of(others)
        assert np.array_equal(encoded(table, codings), encoded(table, again))


@given(st.lists(ROW, min_size=4, max_size=20), st.lists(ROW, min_size=1, max_size=8))
def test_it_is_what_scikit_learn_makes_of_it(training, others):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def frame(rows):
        epoch, day = datetime.datetime(1970, 1, 1), datetime.timedelta(days=1)
        days = [np.nan if row[3] is None else (row[3] - epoch) / day for row in rows]
        made = pd.DataFrame([*rows], columns=NAMES).astype({"age": float, "dose": float})
        return made.assign(sex=pd.Series([row[2] for row in rows], dtype=object), seen=days)

    codings, _ = fitted(table_of(training))
    flag = SimpleImputer(strategy="median", add_indicator=True)
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    kinds = {
        "age": flag,
        "dose": flag,
        "sex": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        "seen": scaled,
    }
    for name, coding in codings.items():
        own = encoded(table_of(others), {name: coding})
        both = [frame(rows)[[name]] for rows in (training, others)]
        transformer = ColumnTransformer([(name, kinds[name], [name])])
        expected = transformer.fit(both[0]).transform(both[1])
        own = own[:, : expected.shape[1]]  # a date's flag is not in the pipeline
        assert np.allclose(own, expected, rtol=1e-5, atol=1e-5)


def patients(n=60, seed=0, **more):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    rows = {
        "age": [None if i % 7 == 0 else int(v) for i, v in enumerate(rng.integers(20, 90, n))],
        "sex": [["f", "m"][v] for v in rng.integers(0, 2, n)],
        "smokes": (rng.random(n) < 0.5).tolist(),
        "dose": (rng.normal(size=n) + y).tolist(),
        "label": y.tolist(),
    }
    return rows | more


def dataset(rows):
    return datasets.Dataset.from_dict(rows)


def parquet(folder, **splits):
    folder.mkdir()
    for name, rows in splits.items():
        dataset(rows).to_parquet(str(folder / f"{name}.parquet"))
    return folder


def configure(data, **settings):
    base = {"data.name": str(data), "clients": 2, "data.alpha": None, "transfer.size": 8}
    return merge(RunConfig(), **base | settings)


def test_test_rows_leave_no_trace():
    train = patients()
    tests = [patients(20, seed, sex=sex) for seed, sex in ((1, ["x"] * 20), (2, ["f", None] * 10))]
    both = [prepare(datasets.DatasetDict(train=dataset(train), test=dataset(t))) for t in tests]
    assert both[0].encoding == both[1].encoding
    assert np.array_equal(both[0].x_train, both[1].x_train)
    assert both[0].shape == both[1].shape == (6,)
    assert not both[0].x_test[:, 2:4].any()  # a text that no training row has
    assert "sex (2 levels, 20 rows of none)" in both[0].note


def test_a_split_that_fedkd_makes_is_fitted_on_its_training_rows_alone():
    corpus = prepare(dataset(patients(100)))
    both = [corpus.columns(split).column("dose").to_numpy() for split in ("train", "test")]
    median = float(np.median(both[0]))
    assert corpus.encoding["dose"] == {"kind": "number", "median": median, "flagged": False}
    assert median != np.median(np.concatenate(both))


def test_whether_a_text_is_a_category_is_for_the_training_rows_to_say():
    few, many = ["a", "b"] * 30, [f"t{i}" for i in range(60)]
    splits = {"train": dataset(patients(t=few)), "test": dataset(patients(t=many))}
    assert prepare(datasets.DatasetDict(splits)).features[-1] == "t"
    splits = {"train": dataset(patients(t=many)), "test": dataset(patients(t=few))}
    corpus = prepare(datasets.DatasetDict(splits))
    assert corpus.features == ["age", "sex", "smokes", "dose"]
    assert "t (each row has its own; name it in data.features to use it)" in corpus.note


def test_the_transfer_set_has_the_clients_constants(tmp_path):
    own = parquet(tmp_path / "own", train=patients(), test=patients(20, 1))
    odd = patients(40, 2, age=[None] * 40, sex=["other"] * 40, extra=[1] * 40)
    other = parquet(tmp_path / "other", train=odd)
    config = configure(own, **{"transfer.data": str(other)})
    corpus, transfer = corpora(config)
    assert transfer.encoding == corpus.encoding
    assert transfer.features == corpus.features
    median = corpus.encoding["age"]["median"]
    assert (transfer.x_train[:, :4] == [median, 1, 0, 0]).all()
    federation = build_federation(config, corpus, transfer, tmp_path / "out")
    assert federation.transfer().shape == (8, 6)
    notes = " ".join(partition_notes(federation))
    assert "extra (the others lack it)" in notes
    assert "missing = training median: age (40, flagged)" in notes


SAME = [
    ("age", [float(i) for i in range(40)]),
    ("age", [i % 2 == 0 for i in range(40)]),
    ("smokes", [0, 1] * 20),
    ("dose", [1] * 40),
    ("when", [datetime.datetime(2024, 1, 1 + i % 9) for i in range(40)]),
    ("when", [None] * 40),
    ("age", [None] * 40),
    ("sex", [None] * 40),
]
OTHER = [
    ("age", ["41"] * 40, "holds string, and numbers"),
    ("sex", [1] * 40, "holds int64, and text"),
    ("when", ["soon"] * 40, "holds string, and dates"),
    ("when", [1] * 40, "holds int64, and dates"),
    ("smokes", ["yes"] * 40, "holds string, and numbers"),
    ("dose", [np.inf] * 40, "is not finite in "),
]


def dated(n):
    return [datetime.date(2024, 1, 1 + i % 9) for i in range(n)]


@pytest.mark.parametrize(("name", "values"), SAME)
@pytest.mark.parametrize("place", ["test", "transfer"])
def test_the_same_in_another_type_is_taken(place, name, values, tmp_path):
    given = patients(when=dated(60))
    odd = patients(40, when=dated(40)) | {name: values}
    if place == "test":
        x = prepare({"train": dataset(given), "test": dataset(odd)}).x_test
    else:
        folders = parquet(tmp_path / "a", train=given), parquet(tmp_path / "b", train=odd)
        x = corpora(configure(folders[0], **{"transfer.data": str(folders[1])}))[1].x_train
    assert x.shape[1] == 7
    assert np.isfinite(x).all()


def test_a_date_and_a_time_of_day_are_one_scale():
    at = [datetime.datetime(d.year, d.month, d.day) for d in dated(60)]
    zoned = [day.replace(tzinfo=datetime.UTC) for day in at]
    for other in (at, zoned):
        corpus = prepare(
            {"train": dataset(patients(when=dated(60))), "test": dataset(patients(when=other))}
        )
        assert np.array_equal(corpus.x_test, corpus.x_train)
        assert "dates in days, standardised: when" in corpus.note
        column = corpus.x_train[:, -1].astype(float)
        assert abs(column.mean()) < 1e-6
        assert column.std() == pytest.approx(1)


@pytest.mark.parametrize(("name", "values", "message"), OTHER)
@pytest.mark.parametrize("place", ["test", "transfer"])
def test_another_kind_of_value_is_refused_in_one_line(place, name, values, message, tmp_path):
    given = patients(when=dated(60))
    odd = patients(40, when=dated(40)) | {name: values}
    folders = parquet(tmp_path / "a", train=given), parquet(tmp_path / "b", train=odd)
    config = configure(folders[0], **{"transfer.data": str(folders[1])})
    splits = {"train": dataset(given), "test": dataset(odd)}
    with pytest.raises(ConfigError, match=f"column '{name}' {message}") as caught:
        prepare(splits) if place == "test" else corpora(config)
    assert caught.value.key == {"test": "data", "transfer": "transfer.data"}[place]
    assert len(str(caught.value).splitlines()) == 1


def test_features_are_those_that_are_named_in_that_order(tmp_path):
    path = parquet(
        tmp_path / "own", train=patients(id=[*range(60)]), test=patients(20, id=[0] * 20)
    )
    config = compose([f"data={path}", "data.features=[id,smokes]", "clients=2"])
    corpus = corpora(config)[0]
    assert corpus.features == ["id", "smokes"]
    assert np.array_equal(corpus.x_train[:, 0], np.arange(60))
    assert "left out: age (not in data.features)" in corpus.note
    frame = pd.DataFrame(patients()).drop(columns="label")
    settings = {"clients": 2, "rounds": 1, "engine": "inline", "transfer.size": 8}
    settings |= {
        "data.features": ["dose", "age"],
        "data.alpha": None,
        "data.samples_per_client": 10,
    }
    run = simulate("fedmd", data=(frame, [0, 1] * 30), **settings)
    assert run.summary["alma_global"]["last"] is not None


MANY = [f"t{i % (LEVELS + 1)}" for i in range(200)]
REFUSED = [
    (["nope"], "has no such column"),
    (["label"], "is the label"),
    (["age", "age"], "is named twice"),
    (["ward"], r"no feature \(constant\)"),
    (["empty"], r"no feature \(no values\)"),
    (["city"], "51 different texts, at most 50 are one-hot; text; name it with data.text"),
    (["lab"], "numbers as text, but for '[?]'"),
    (["tags"], r"no feature \(no scalars\)"),
    (["age", "picture"], r"no feature \(no scalars\)"),
    (["site"], "the samples are dealt by it"),
]


def odd_table():
    n = 200
    more = {
        "ward": ["A"] * n,
        "empty": [float("nan")] * n,
        "city": MANY,
        "lab": ["?", *(f"{i}.5" for i in range(1, n))],
        "tags": [["a"]] * n,
        "site": [0, 1] * (n // 2),
        "picture": [np.zeros((4, 4), np.uint8)] * n,
    }
    made = dataset(patients(n) | {k: v for k, v in more.items() if k != "picture"})
    return made.add_column("picture", [{"bytes": b"", "path": None}] * n).cast_column(
        "picture", datasets.Image()
    )


@pytest.mark.parametrize(("named", "message"), REFUSED)
def test_features_that_cannot_be_are_refused(named, message):
    choice = Choice("label", tuple(named), apart=("site",))
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(odd_table(), choice=choice)
    assert caught.value.key == "data.features"
    assert caught.value.value == named[-1]
    assert len(str(caught.value).splitlines()) == 1


def test_named_columns_go_before_pictures_and_arrays_beside_them():
    assert prepare(odd_table(), choice=Choice(features=("age", "dose"))).shape == (3,)
    arrays = dataset(patients(emb=[[1.0, 2.0, float(i)] for i in range(60)]))
    assert prepare(arrays, choice=Choice(features=("emb",))).shape == (3,)
    assert prepare(arrays).features == ["age", "sex", "smokes", "dose"]


@pytest.mark.parametrize("row", [0, 9])
def test_missing_arrays_are_counted(row):
    arrays = [[1.0, 2.0]] * 60
    arrays[row] = None
    data = datasets.Dataset.from_dict({"emb": arrays, "label": [0, 1] * 30})
    with pytest.raises(ConfigError, match="lacks its array in 1 of 60 rows; drop those rows"):
        prepare(data)


@pytest.mark.parametrize("data", ["digits", "pictures", "arrays"])
def test_data_without_columns_have_no_features_to_name(data, png_folder):
    rng = np.random.default_rng(0)
    arrays = rng.random((40, 3), np.float32), np.arange(40) % 2
    given = {"digits": "digits", "pictures": str(png_folder), "arrays": arrays}[data]
    for _ in range(2):  # kept from before or not
        with pytest.raises(ConfigError, match=r"data\.features=.*has no (such )?column"):
            prepare(given, choice=Choice(features=("age",)))


def test_no_feature_at_all_is_no_list(tmp_path):
    path = parquet(tmp_path / "own", train=patients())
    done = fedkd("run", f"data={path}", "data.features=[]")
    assert done.exit_code == 2
    assert done.stderr == "error: data.features=[]: must be a list such as [a, b] or null\n"


@pytest.mark.parametrize(
    "labels", [[0, None] * 30, [0.0, np.nan] * 30, ["a", None] * 30, np.array([1.0, np.nan] * 30)]
)
def test_missing_labels_are_counted(labels):
    frame = pd.DataFrame(patients()).drop(columns="label")
    message = "missing.* in 30 of 60 rows; drop those rows, or fill them in"
    with pytest.raises(ConfigError, match=message):
        prepare((frame, labels))
    if isinstance(labels, list):
        with pytest.raises(ConfigError, match=message):
            prepare(dataset(patients(label=labels)))


def test_real_letters_and_diamonds_are_as_they_are(real_data):
    for name, label in (("letter", "label"), ("diamonds", "clarity")):
        corpus = prepare(real_data(name), choice=Choice(label))
        for split, x in (("train", corpus.x_train), ("test", corpus.x_test)):
            columns = corpus.columns(split)
            given = [columns.column(f).to_numpy().astype(np.float32) for f in corpus.features]
            assert np.array_equal(x, np.stack(given, axis=1))
        assert "numbers as given, not standardised" in corpus.note
        assert not {"missing", "one-hot"} & set(corpus.note.split())


def test_real_diamonds_with_holes_and_words_run(real_data, tmp_path):
    """Sizes of 0 are missing ones; cut is given by its name."""
    splits = {}
    for split in ("train", "test"):
        file = next(real_data("diamonds").glob(f"{split}*.parquet"))
        frame = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path)).to_pandas()
        frame["cut"] = np.array(["Fair", "Good", "Very Good", "Premium", "Ideal"])[frame["cut"]]
        for size in "xyz":
            frame[size] = frame[size].where(frame[size] > 0)
        splits[split] = datasets.Dataset.from_pandas(frame[:4000], preserve_index=False)
    choice = {"label": "clarity", "features": ["carat", "cut", "x", "y", "z"], "alpha": 0.5}
    corpus = prepare(datasets.DatasetDict(splits), choice=Choice("clarity"))
    holes = splits["train"].to_pandas()[list("xyz")].isna().sum()
    flagged = [name for name in "xyz" if corpus.encoding[name]["flagged"]]
    assert flagged == [name for name in "xyz" if holes[name]]
    assert len(corpus.encoding["cut"]["levels"]) == 5
    runs = [
        simulate(
            "knfu",
            datasets.DatasetDict(splits),
            clients=3,
            rounds=1,
            engine="inline",
            model="mlp",
            **{f"data.{key}": value for key, value in choice.items()},
            **{"transfer.size": 50, "data.samples_per_client": 60},
        )
        for _ in range(2)
    ]
    assert runs[0].summary["digest"] == runs[1].summary["digest"]


def test_pictures_need_no_scikit_learn(png_folder, tmp_path):
    lines = (
        "import sys; from fedkd.data import prepare; "
        f"prepare({str(png_folder)!r}, cache={str(tmp_path)!r}); print('sklearn' in sys.modules)"
    )
    command = [sys.executable, "-c", lines]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == "False\n"


def test_whoever_opens_a_table_needs_no_scikit_learn():
    corpus = prepare(dataset(patients()))
    lines = (
        "import sys; from fedkd.data.corpus import Corpus; "
        f"print(Corpus.open({str(corpus.path)!r}).tensor('train')[0].shape[1], "
        "'sklearn' in sys.modules)"
    )
    command = [sys.executable, "-c", lines]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == "6 False\n"


def test_what_is_missing_in_test_rows_alone_has_no_flag():
    coding = Number.fit(pa.chunked_array([[1, 2, 3]]))
    assert coding.apply(pa.chunked_array([[None, 7]])).tolist() == [[2.0], [7.0]]


@pytest.mark.parametrize(("standardise", "scaled"), [(None, True), (True, True), (False, False)])
def test_numbers_beside_targets_that_are_numbers_are_standardised(standardise, scaled):
    rng = np.random.default_rng(0)
    table = {"age": rng.uniform(20, 80, 60), "cost": rng.normal(size=60)}
    choice = Choice("cost", standardise=standardise)
    corpus = prepare(datasets.Dataset.from_dict(table), choice=choice)
    age = np.asarray(corpus.x_train[:, 0])
    assert corpus.targets.numeric
    assert np.allclose([age.mean(), age.std()], [0, 1], atol=1e-5) is scaled
    assert ("numbers standardised" in corpus.note) is scaled
    assert ("not standardised" in corpus.note) is not scaled


def test_numbers_beside_classes_are_standardised_if_told():
    table = datasets.Dataset.from_dict({"age": [20.0, 40.0, 60.0] * 10, "label": [0, 1] * 15})
    plain, scaled = (prepare(table, choice=Choice(standardise=one)) for one in (None, True))
    assert np.asarray(plain.x_train).max() == 60
    assert abs(np.asarray(scaled.x_train).mean()) < 1e-6
    frame = table.to_pandas()
    given = [
        prepare((frame[["age"]], frame.label), choice=Choice(standardise=s)) for s in (None, True)
    ]
    assert given[0].path != given[1].path
    with pytest.raises(ConfigError, match="no table with columns") as caught:
        corpora(merge(RunConfig(), **{"data.standardise": True}))
    assert caught.value.key == "data.standardise"
