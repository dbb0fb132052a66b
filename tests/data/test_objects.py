"""Data as Python objects, of one or of each client; transfer sets without labels; torch."""

import warnings

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from fedkd import ConfigError, simulate
from fedkd.config import RunConfig
from fedkd.config.overrides import merge
from fedkd.data import build_federation, corpora, is_data, prepare
from fedkd.data.columns import Choice
from fedkd.data.joined import CLIENT
from fedkd.run.python import resume

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype(np.float32)
Y = np.arange(24) % 3
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})
TABLE = datasets.Dataset.from_pandas(FRAME)
SMALL = {"clients": 2, "rounds": 1, "engine": "inline", "transfer.size": 4, "data.alpha": None}


class Pairs(Dataset):
    """A map-style data set of what it is given."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        found = self.rows[index]
        return found() if callable(found) else found


class Stream(IterableDataset):
    """A stream of torch."""

    def __iter__(self):
        return iter([(torch.zeros(3), 0)])


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("x_train", "y_train", "x_test", "y_test")
    )


# One data set


def test_frames_are_data_sets():
    corpus = prepare(FRAME)
    assert corpus.features == ["a", "b"]
    assert same(corpus, prepare(TABLE))
    assert same(corpus, prepare((FRAME[["a", "b"]], Y)))
    species = FRAME.rename(columns={"label": "species"})
    species["species"] = pd.Categorical([f"s{y}" for y in Y])
    assert prepare(species, choice=Choice("species")).class_names == ["s0", "s1", "s2"]
    indexed = FRAME.set_index(pd.Index(range(24), name="row"))
    assert "row (the frame's index)" in prepare(indexed).note
    splits = prepare({"train": FRAME, "test": FRAME[:6]})
    assert (len(splits.y_train), len(splits.y_test)) == (24, 6)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.drop(columns="label"), "needs a label column"),
        (FRAME.assign(label=None), "missing"),
        (FRAME[:0], "without rows"),
        (pd.DataFrame(np.zeros((3, 3)), columns=["a", "a", "label"]), "2 columns called 'a'"),
        (FRAME.assign(a=[1, "x"] * 12), "cannot be read"),
        (FRAME.assign(a=pd.period_range("2020", periods=24, freq="D")), "cannot be read"),
        (FRAME.assign(a=np.inf), "is not finite in 19 of 19 rows"),
    ],
)
def test_frames_that_are_refused(frame, message):
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(frame)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [
        TensorDataset(torch.tensor(X), torch.tensor(Y)),
        Subset(
            TensorDataset(torch.tensor(X[::-1].copy()), torch.tensor(Y[::-1].copy())),
            range(23, -1, -1),
        ),
        Pairs(list(zip(X, Y, strict=True))),
        Pairs([(torch.tensor(x), torch.tensor(y)) for x, y in zip(X, Y, strict=True)]),
        Pairs([[x.tolist(), int(y)] for x, y in zip(X, Y, strict=True)]),
        Subset(Pairs(list(zip(X, Y, strict=True))), range(24)),
        Subset(TensorDataset(torch.tensor(X), torch.tensor(Y)), torch.arange(24)),
    ],
)
def test_data_sets_of_torch_are_their_arrays(data):
    assert same(prepare(data), prepare((X, Y)))
    splits = {"train": data, "test": (X[:6], Y[:6])}
    assert same(prepare(splits), prepare((X, Y, X[:6], Y[:6])))


def test_pictures_of_torch_keep_their_bytes():
    pixels = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    rows = [(Image.fromarray(one), number % 2) for number, one in enumerate(pixels)]
    corpus = prepare({"train": Pairs(rows), "test": Pairs(rows)})
    assert np.array_equal(corpus.x_train, pixels)
    assert corpus.shape == (3, 5, 4)


def test_reading_a_data_set_moves_no_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    prepare(Pairs([(X[0], 0)] * 3 + [lambda: (torch.rand(3), 1)] * 3))
    assert torch.equal(torch.get_rng_state(), before)


def failing():
    raise KeyError("no such sample")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), "stream of torch"),
        ({"train": Stream(), "test": Stream()}, "stream of torch"),
        (Pairs([]), "no samples"),
        (Pairs([(X[0], 0), failing]), r"sample 1 cannot be read \(KeyError"),
        (Pairs([lambda: (torch.rand(3), 0)] * 4), "differs each time"),
        (Pairs([{"x": X[0], "y": 0}] * 4), r"sample 0 is a dict, and must be \(x, y\)"),
        (Pairs([(X[0], 0, 1)] * 4), "sample 0 is a tuple"),
        (Pairs([(X[0], 0), X[0]]), "sample 1 is a ndarray"),
        (Pairs([(X[0], 0), (X[0][:2], 1)]), "differ in shape"),
        (Pairs([(X[0], None)] * 3), "missing"),
        (Pairs(list(X)), "has no labels"),
        (Pairs([("text", 0)] * 3), "text|samples"),
        (TensorDataset(torch.tensor(X)), "has no labels"),
        (TensorDataset(*[torch.tensor(X)] * 3), "has 3 tensors"),
        (Subset(TensorDataset(torch.tensor(X), torch.tensor(Y)), [0, 99]), "sample 1 cannot be"),
        (DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y))), r"give its \.dataset"),
        (object.__new__(Dataset), "cannot be read"),
    ],
)
def test_data_sets_of_torch_that_are_refused(data, message):
    with pytest.raises(ConfigError, match=message) as caught:
        simulate("fedmd", data, **SMALL)
    assert str(caught.value).isprintable()


# One data set per client

ARRAYS = [(X[:10], Y[:10]), (X[10:13], Y[10:13]), (X[13:], Y[13:])]
FRAMES = [FRAME[:10], FRAME[10:13], FRAME[13:]]
KINDS = {
    "arrays": ARRAYS,
    "tensors": [tuple(map(torch.tensor, part)) for part in ARRAYS],
    "lists": [(x.tolist(), y.tolist()) for x, y in ARRAYS],
    "frames": FRAMES,
    "datasets": [datasets.Dataset.from_pandas(one, preserve_index=False) for one in FRAMES],
    "torch": [TensorDataset(*map(torch.tensor, part)) for part in ARRAYS],
    "mixed": [FRAMES[0], datasets.Dataset.from_pandas(FRAMES[1]), {"train": FRAMES[2]}],
}


def rows_of(corpus, split):
    """Return samples with their labels and whose they are, in order."""
    x = {"train": corpus.x_train, "test": corpus.x_test}[split]
    owner = corpus.columns(split).column(corpus.client).to_pylist()
    return sorted(zip(x.tolist(), corpus.labels(split).tolist(), owner, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_know_whose_a_sample_is(kind):
    corpus = prepare(KINDS[kind])
    assert corpus.client == CLIENT
    width = 3 if kind in ("arrays", "tensors", "lists", "torch") else 2
    expected = [(X[i, :width].tolist(), int(Y[i]), int(i > 9) + int(i > 12)) for i in range(24)]
    assert sorted(rows_of(corpus, "train") + rows_of(corpus, "test")) == sorted(expected)
    tested = np.bincount(corpus.columns("test").column(CLIENT).to_numpy(), minlength=3)
    assert np.all(np.abs(tested - np.array([10, 3, 11]) / 5) < 1)
    assert corpus.columns("train").schema.field(CLIENT).type == "int64"
    assert CLIENT not in (corpus.features or [])
    swapped = prepare([KINDS[kind][one] for one in (1, 0, 2)])
    assert swapped.path != corpus.path


def test_a_frame_and_its_parts_read_alike():
    """Columns, coding and classes; parts hold whole numbers, or nothing, where others do not."""
    days = pd.date_range("2024-01-01", periods=24)
    frame = FRAME.assign(
        code=[f"P-{k}" for k in range(24)],
        some=[None] * 10 + [1.5] * 3 + [2] * 11,
        text=["u"] * 10 + ["v"] * 14,
        kind=pd.Categorical(["p", "q"] * 12),
        day=[None] * 10 + [day.date() for day in days[10:]],
        when=days,
        flag=X[:, 2] > 0,
        label=["ill", "healthy"] * 12,
    )
    parts = [frame[:10].assign(some=None), frame[10:13], frame[13:].assign(some=2, when=days[13:])]
    whole, several = prepare(frame), prepare(parts)
    assert whole.features == several.features
    assert "code" not in several.features
    assert whole.class_names == several.class_names == ["healthy", "ill"]
    assert whole.shape == several.shape
    kinds = [{k: v["kind"] for k, v in one.encoding.items()} for one in (whole, several)]
    assert kinds[0] == kinds[1]
    left = [one.note.partition("left out")[2] for one in (whole, several)]
    assert left[0] == left[1]


FLAGS = [k % 3 == 0 for k in range(24)]


@pytest.mark.parametrize("kind", ["lists", "arrays", "tensors", "frame", "one-hot", "column"])
def test_booleans_are_two_classes_and_zeros_and_ones(kind):
    rows, x = [[flag, not flag] for flag in FLAGS], np.array(FLAGS)
    data = {
        "lists": (rows, FLAGS),
        "arrays": (np.array(rows), x),
        "tensors": TensorDataset(torch.tensor(rows), torch.tensor(FLAGS)),
        "frame": pd.DataFrame({"a": x, "b": ~x, "label": x}),
        "one-hot": (rows, [[not flag, flag] for flag in FLAGS]),
        "column": datasets.Dataset.from_dict({"x": rows, "label": FLAGS}),
    }[kind]
    corpus = prepare(data)
    x, y = (np.concatenate([getattr(corpus, f"{n}_{s}") for s in ("train", "test")]) for n in "xy")
    assert corpus.classes == 2
    assert (x.dtype, x.shape) == (np.float32, (24, 2))
    assert np.array_equal(x[:, 0], y)
    assert np.array_equal(x[:, 1], 1 - y)
    assert y.sum() == 8
    numbers = prepare(data, choice=Choice(targets="numbers")) if kind != "one-hot" else None
    assert numbers is None or set(numbers.y_train) == {0.0, 1.0}


def test_lists_of_test_sets_stay_apart():
    test = [(X[:2], Y[:2]), (X[2:5], Y[2:5]), (X[5:9], Y[5:9])]
    nested = prepare(list(zip(ARRAYS, test, strict=True)))
    assert same(nested, prepare([(*a, *b) for a, b in zip(ARRAYS, test, strict=True)]))
    assert nested.y_train.tolist() == Y.tolist()
    assert nested.columns("test").column(CLIENT).to_pylist() == [0] * 2 + [1] * 3 + [2] * 4
    splits = [{"train": one, "test": FRAME[k : k + 2]} for k, one in enumerate(FRAMES)]
    tables = prepare(
        [
            datasets.DatasetDict(
                {n: datasets.Dataset.from_pandas(p, preserve_index=False) for n, p in one.items()}
            )
            for one in splits
        ]
    )
    assert same(tables, prepare(splits))
    assert tables.columns("test").column(CLIENT).to_pylist() == [0, 0, 1, 1, 2, 2]


def test_a_clients_own_test_set_may_have_classes_and_columns_of_its_own(tmp_path):
    def table(names, rows, **more):
        frame = pd.DataFrame({"a": X[rows, 0], "b": X[rows, 1], "label": Y[rows] % 2, **more})
        found = datasets.Dataset.from_pandas(frame, preserve_index=False)
        return found.cast_column("label", datasets.ClassLabel(names=names))

    one = {"train": table(["u", "v"], range(10)), "test": table(["v", "w"], range(4), more=1)}
    two = {"train": table(["v", "u"], range(10, 24)), "test": table(["w", "v"], range(4, 9))}
    config = merge(RunConfig(), clients=2, **{"data.test": "local", "transfer.size": 4})
    corpus = corpora(config, [one, two])[0]
    assert corpus.class_names == ["u", "v", "w"]
    assert corpus.y_test.tolist() == [1, 2, 1, 1, 1, 2, 2, 1, 2]
    assert corpus.y_train[:4].tolist() == [0, 1, 0, 0]
    assert corpus.y_train[10:14].tolist() == [0, 1, 1, 0]
    assert corpus.features == ["a", "b"]
    federation = build_federation(config, corpus, None, tmp_path)
    assert federation.own_test(1)[1].tolist() == [1, 2, 2, 1, 2]
    assert federation.own_test(0)[1].tolist() == [1, 2, 1, 1]
    summary = simulate("fedmd", [one, two], **SMALL | {"data.test": "local"}).summary
    assert summary["rejected"] == 0
    alone = prepare(one)
    assert (alone.class_names, alone.y_test.tolist()) == (["u", "v", "w"], [1, 2, 1, 1])
    lacks = {"train": two["train"], "test": two["test"].remove_columns("b")}
    with pytest.raises(ConfigError, match=r"client 1: its test set lacks the columns b"):
        prepare([one, lacks])
    with pytest.raises(ConfigError, match=r"client 0: its test set lacks the columns b"):
        prepare([lacks, one])
    with pytest.raises(ConfigError, match=r"one has names of classes or one-hot labels"):
        prepare((X[:6], np.eye(3)[Y[:6]], X[6:9], Y[6:9]))


def test_lists_of_files_are_per_client(tmp_path):
    for number, frame in enumerate(FRAMES):
        frame.to_csv(tmp_path / f"{number}.csv", index=False)
        frame.to_parquet(tmp_path / f"{number}.parquet")
    csv = prepare([tmp_path / f"{number}.csv" for number in range(3)])
    assert csv.client == CLIENT
    assert same(csv, prepare([str(tmp_path / f"{number}.parquet") for number in range(3)]))


def test_classes_are_matched_by_name_over_clients(tmp_path):
    for client, names in enumerate([("cat", "dog"), ("bird", "cat")]):
        for name in names:
            (tmp_path / f"{client}" / name).mkdir(parents=True)
            for number in range(5):
                grey = Image.new("L", (4, 4), {"cat": 1, "dog": 2, "bird": 3}[name])
                grey.save(tmp_path / f"{client}" / name / f"{number}.png")
    corpus = prepare([tmp_path / "0", tmp_path / "1"])
    assert corpus.class_names == ["cat", "dog", "bird"]
    assert np.array_equal(corpus.x_train[:, 0, 0] - 1, corpus.y_train)
    eye = [(X[:4], np.eye(2)[[0, 1, 0, 1]]), (X[4:8], np.eye(3)[[2, 1, 0, 1]])]
    assert prepare(eye).class_names == ["0", "1", "2"]


def test_numbers_of_several_types_are_one_column():
    whole, real = FRAME.assign(a=1), FRAME.assign(a=[np.nan, *[0.5] * 23])
    flag, small = FRAME.assign(a=True), FRAME.astype({"label": "uint8"})
    corpus = prepare([whole, flag, small])
    assert corpus.features == ["a", "b"]
    assert "missing = training median: a (1, flagged)" in prepare([whole, real]).note


@pytest.mark.parametrize("kind", ["arrays", "frames"])
def test_clients_are_dealt_what_is_theirs(kind, tmp_path):
    config = merge(RunConfig(), clients=3, **{"transfer.size": 3})
    corpus, _ = corpora(config, KINDS[kind])
    federation = build_federation(config, corpus, None, tmp_path)
    owner = corpus.columns("train").column(CLIENT).to_numpy()
    assert [set(owner[federation.indices(k)]) for k in range(3)] == [{0}, {1}, {2}]
    assert federation.sizes.sum() == len(owner) - 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([(X, Y), (X[:, :2], Y)], r"client 1: its samples are float32 \(2,\)"),
        ([(X, Y), (X, Y, X, Y)], "client 1: has a test set, unlike client 0"),
        ([(X, Y, X, Y), (X, Y)], "client 1: has no test set"),
        ([(X, Y), (X, [str(y) for y in Y])], "client 1: labels are text in it and numbers"),
        ([(X, Y), (X, np.eye(3)[Y])], "client 1: of it and client 0 one has one-hot"),
        ([(X, Y), FRAME], "client 1: of it and client 0 one has columns"),
        ([(X, Y), "digits"], r"client 1: its samples are uint8 \(8, 8\)"),
        ([(FRAME, Y), (FRAME, Y)], "client 0: has a frame beside its labels"),
        ([FRAME, FRAME.assign(c=1)], "client 1: its columns .*: c"),
        ([FRAME, FRAME.drop(columns="a")], "client 1: its columns .*: a"),
        ([FRAME, FRAME.assign(a="x")], "client 1: its column 'a' holds"),
        ([FRAME, FRAME[:0]], r"client 1|without rows"),
        ([(X, Y), (X[:0], Y[:0])], r"data\[1\]=y.*not empty"),
        ([(X, Y), "nowhere.csv"], r"data\[1\]=nowhere.csv: .* no file or folder"),
        ([(X, Y), (X, None)], r"data\[1\]"),
        ([(X, Y), X], r"data\[1\]=ndarray: has no labels"),
        ([(X, Y), [(X, Y)]], r"data\[1\]=list: give the arrays"),
        ([(X, Y), [X, Y]], r"data\[1\]=list: give the arrays"),
        ([(X[0], 0), (X[1], 1)], "seem to be samples"),
        ([(X[0], "cat")] * 4, "seem to be samples"),
        (["a text", "another one"], r"data=list\[2\]: its members are texts.*\(texts, labels\)"),
        (pa.table(FRAME), r"give its to_pandas\(\)"),
        ((pa.table(FRAME), Y), r"give its to_pandas\(\)"),
        ((TABLE, Y), r"give its to_pandas\(\)"),
        ([[X, Y], [X, Y]], "or 2 clients"),
        ([[X, Y], [X, Y], [X, Y]], "or 3 clients"),
        ([[X, Y]] * 4, "or 4 clients"),
        ([TABLE, TABLE.to_iterable_dataset()], r"data\[1\]=.*streaming=True"),
        ([TABLE, TABLE.with_transform(lambda rows: rows)], r"data\[1\]=.*transform"),
        ([TensorDataset(torch.tensor(X), torch.tensor(Y)), Stream()], r"data\[1\]=Stream"),
        ([TABLE, None], r"data\[1\]=NoneType|must be"),
        ([], "must be a name"),
        (((X, Y), (X, Y), (X, Y)), "must be a name"),
    ],
)
def test_lists_that_are_refused(data, message):
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(data)
    assert str(caught.value).isprintable()


def test_there_are_as_many_clients_as_members():
    with pytest.raises(ConfigError, match=r"clients=4: data is a list of 3") as caught:
        simulate("fedmd", ARRAYS, **SMALL | {"clients": 4})
    assert caught.value.key == "clients"
    given_ = {key: value for key, value in SMALL.items() if key != "clients"}
    assert simulate("fedmd", ARRAYS, **given_).summary["clients"] == 3
    assert simulate("fedmd", ARRAYS, **SMALL | {"clients": 3}).summary["clients"] == 3


# Transfer sets without labels

PUBLIC = RNG.normal(size=(30, 3)).astype(np.float32)
UNLABELLED = {
    "array": PUBLIC,
    "tensor": torch.tensor(PUBLIC),
    "list": PUBLIC.tolist(),
    "rows": list(PUBLIC),
    "torch": TensorDataset(torch.tensor(PUBLIC)),
    "samples": Pairs(list(PUBLIC)),
    "none": (PUBLIC, None),
}


def run(transfer, **more):
    words = SMALL | {"transfer.data": transfer, "transfer.size": 9} | more
    return simulate("fedmd", (X, Y), **words)


@pytest.mark.parametrize("kind", UNLABELLED)
def test_transfer_sets_need_no_labels(kind):
    digest = run(UNLABELLED[kind]).summary["digest"]
    assert digest == run((PUBLIC, np.zeros(30), PUBLIC[:1], [0])).summary["digest"]
    group = {"transfer": {"data": UNLABELLED[kind], "size": 9}}
    words = {key: value for key, value in SMALL.items() if key != "transfer.size"}
    assert simulate("fedmd", (X, Y), **words, **group).summary["digest"] == digest


def test_a_list_of_texts_is_a_transfer_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    texts = [f"word{k % 7} and word{k % 3}" for k in range(40)]
    private = texts, [k % 2 for k in range(40)]
    words = SMALL | {"transfer.size": 9, "data.length": 8, "data.vocabulary": 270}
    digests = {
        simulate("fedmd", private, **words, **{"transfer.data": data}).summary["digest"]
        for data in (texts, np.array(texts), (texts, None), pd.Series(texts))
    }
    assert len(digests) == 1
    (tmp_path / "digits.csv").write_text("a,label\n1,0\n")
    with pytest.raises(ConfigError, match="is one set for all clients"):
        simulate("fedmd", private, **words, **{"transfer.data": ["digits.csv", "a text"]})


def test_columns_of_transfer_sets_are_matched_by_name():
    public = pd.DataFrame({"b": PUBLIC[:, 1], "a": PUBLIC[:, 0], "more": 1.0})
    words = SMALL | {"transfer.size": 9}
    digests = {
        simulate("fedmd", FRAME, **words, **{"transfer.data": data}).summary["digest"]
        for data in (
            public,
            public[["a", "b"]],
            datasets.Dataset.from_pandas(public),
            {"train": public, "test": FRAME},
        )
    }
    assert len(digests) == 1
    with pytest.raises(ConfigError, match=r"transfer\.data=.*lacks the feature columns b"):
        simulate("fedmd", FRAME, **words, **{"transfer.data": public.drop(columns="b")})


def test_a_table_without_labels_may_have_texts_in_columns(tmp_path):
    """It has no test split either, and so no row there that could be encoded."""
    frame = FRAME.assign(sex=["f", "m", "m"] * 8)
    frame.drop(columns="label").to_csv(tmp_path / "public.csv", index=False)
    words = SMALL | {"transfer.size": 9}
    for public in (str(tmp_path / "public.csv"), frame.drop(columns="label")):
        result = simulate("fedmd", frame, **words, **{"transfer.data": public})
        assert result.summary["rejected"] == 0


def test_named_classes_are_no_numbers():
    table = TABLE.cast_column("label", datasets.ClassLabel(names=["cat", "dog", "owl"]))
    with pytest.raises(ConfigError, match=r"labels are classes \(cat, dog, owl\), no numbers"):
        simulate("fedmd", table, task="regression", **SMALL)


def test_several_columns_of_classes_are_no_label_of_a_transfer_set():
    kind = datasets.ClassLabel(names=["u", "v", "w"])
    table = TABLE.select_columns(["a", "b", "label"]).rename_column("label", "one")
    table = table.cast_column("one", kind).add_column("two", Y).cast_column("two", kind)
    corpus = prepare(
        table, key="transfer.data", choice=Choice("price", strict=False, optional=True)
    )
    assert not corpus.labelled
    assert (corpus.y_train == -1).all()
    assert len(corpus.y_train) == 24
    with pytest.raises(ConfigError, match="which column"):
        prepare(table)


@pytest.mark.parametrize("transfer", [PUBLIC, FRAME.drop(columns="label")])
def test_labels_that_are_not_there_cannot_be_seen(transfer):
    data = (X, Y) if isinstance(transfer, np.ndarray) else FRAME
    words = SMALL | {"transfer.data": transfer, "transfer.labelled": True}
    with pytest.raises(ConfigError, match=r"transfer\.labelled=true: .* has no labels") as caught:
        simulate("fedmd", data, **words)
    assert caught.value.key == "transfer.labelled"


def test_no_part_sees_labels_that_are_not_there(tmp_path):
    config = merge(RunConfig(), clients=2, transfer={"size": 9}, **{"data.alpha": None})
    federation = build_federation(config, *corpora(config, (X, Y), PUBLIC), tmp_path)
    assert federation.transfer().shape == (9, 3)
    with pytest.raises(ConfigError, match="has no labels"):
        federation.transfer_labels()
    assert federation.histograms.sum() == len(federation.corpus.y_train)


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        ([(PUBLIC, Y), (PUBLIC, Y)], r"transfer\.data=list\[2\]: is one set for all clients"),
        ([FRAME], "one set for all"),
        ([PUBLIC, PUBLIC], r"is it \[x, y\], or samples"),
        (PUBLIC[:, :2], r"samples are \(2,\)"),
        (PUBLIC[:0], "not empty"),
        (np.zeros(9), r"must be \[samples"),
        (FRAME.assign(c=[0, 1] * 12), "one has column names"),
        (Stream(), "stream"),
        (TABLE.to_iterable_dataset(), "streaming=True"),
        (object(), "must be a name"),
        (iter([1]), "must be a name"),
        ("nowhere", "no file or folder"),
        ([[1.0], [1.0, 2.0], [2.0]], "differ in shape"),
    ],
)
def test_transfer_sets_that_are_refused(transfer, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run(transfer)
    assert caught.value.key.startswith("transfer.data")
    assert str(caught.value).isprintable()


def test_a_resume_takes_the_transfer_set_again(tmp_path):
    digest = run(PUBLIC, rounds=2).summary["digest"]
    run(PUBLIC, run_dir=str(tmp_path / "run"))
    given_ = {"data": (X, Y), "transfer.data": PUBLIC}
    assert resume(tmp_path / "run", rounds=2, **given_).summary["digest"] == digest
    with pytest.raises(ConfigError, match=r"transfer\.data=ndarray"):
        resume(tmp_path / "run", rounds=3, data=(X, Y))


def test_the_same_table_for_both_stays_disjoint(tmp_path):
    FRAME.to_csv(tmp_path / "own.csv", index=False)
    words = {"data.name": str(tmp_path / "own.csv"), "transfer.data": str(tmp_path / "own.csv")}
    config = merge(RunConfig(), clients=2, transfer={"size": 9}, **words, **{"data.alpha": None})
    federation = build_federation(config, *corpora(config), tmp_path / "out")
    assert federation.transfer_corpus is federation.corpus
    split = np.load(federation.path)
    assert not set(split["train"]) & set(split["transfer"])


# Whatever it is

ARRAY_LIKE = [X, Y, X.tolist(), Y.tolist(), torch.tensor(X), (X, Y), (X, Y, X, Y), [X, Y], X[0]]
WHOLE = [FRAME, TABLE, datasets.DatasetDict(train=TABLE, test=TABLE), Pairs([(X[0], 0)] * 4)]
ODD = [FRAME["a"], Pairs([]), Stream(), None, 3, "x", "", {}, {"train": X}, {"train": FRAME}, set()]
PARTS = st.sampled_from([*ARRAY_LIKE, *WHOLE, *ODD])


@settings(
    deadline=None, max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    parts=st.lists(PARTS, max_size=4), form=st.sampled_from([list, tuple]), optional=st.booleans()
)
def test_any_objects_are_data_or_refused(parts, form, optional):
    data = form(parts)
    assert is_data(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        said = "fine"
        try:
            corpus = prepare(data, choice=Choice(strict=not optional, optional=optional))
        except ConfigError as error:
            said = str(error)
        else:
            assert len(corpus.x_train) == len(corpus.y_train)
            assert corpus.labelled or optional
    assert said.isprintable()
    assert len(said) < 1500
