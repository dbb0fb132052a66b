"""Files and folders as data: tables are read as they are, the rest is refused in one line."""

import gzip
import json
import os
from pathlib import Path
from zlib import crc32

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import fedkd

from fedkd import ConfigError, simulate
from fedkd.data import prepare
from fedkd.run.python import resume

FRAME = pd.DataFrame({"a": np.arange(30) / 4, "b": np.arange(30) % 15, "label": [*"xyz"] * 10})
SMALL = ["clients=2", "rounds=1", "engine=inline", "transfer.size=4", "data.alpha=null"]
WORDS = {"clients": 2, "rounds": 1, "engine": "inline", "transfer.size": 4, "data.alpha": None}


def csv_file(path: Path, frame: pd.DataFrame = FRAME) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    end = path.name.removesuffix(".gz")
    frame.to_csv(path, index=False, sep="\t" if end.endswith(".tsv") else ",")
    return path


def test_every_kind_of_file_has_the_same_samples(tmp_path):
    FRAME.to_parquet(tmp_path / "own.parquet")
    names = ["own.csv", "own.tsv", "own.csv.gz", "own.TSV.gz"]
    files = [csv_file(tmp_path / name) for name in names if not name[4].isupper()]
    (tmp_path / "own.TSV.gz").write_bytes(gzip.compress((tmp_path / "own.tsv").read_bytes()))
    known = prepare(tmp_path / "own.parquet")
    assert known.features == ["a", "b"]
    assert (len(known.x_train), known.class_names, known.name) == (24, ["x", "y", "z"], "own")
    for file in [*files, tmp_path / "own.TSV.gz"]:
        corpus = prepare(file)
        assert np.array_equal(corpus.x_train, known.x_train)
        assert np.array_equal(corpus.y_test, known.y_test)
        assert corpus.name == "own"


def test_folders_of_csv_files_have_splits_by_their_names(tmp_path):
    csv_file(tmp_path / "train-0.csv", FRAME[:20])
    other = FRAME.assign(b=FRAME["b"] / 2)[["label", "b", "a"]]  # whole numbers in one file only
    csv_file(tmp_path / "train-1.csv", other[20:])
    csv_file(tmp_path / "test.csv", other[:9])
    corpus = prepare(tmp_path)
    assert (len(corpus.x_train), len(corpus.x_test)) == (30, 9)
    assert corpus.x_train[[0, 29]].tolist() == [[0, 0], [29 / 4, 14 / 2]]
    assert corpus.x_test[8].tolist() == [2, 4]


def test_a_column_may_turn_late_into_what_it_was_not(tmp_path):
    rows = 30_000  # pandas and `datasets` guess types from fewer
    frame = pd.DataFrame({"a": np.arange(rows), "word": "7", "label": np.arange(rows) % 2})
    frame = frame.astype({"a": float, "word": object})
    text = frame.to_csv(index=False).replace(".0,", ",")
    path = tmp_path / "late.csv"
    path.write_text(text + "0.5,seven,1\n")
    corpus = prepare(path)
    assert corpus.features == ["a"]
    assert 0.5 in corpus.x_train or 0.5 in corpus.x_test


def test_other_content_is_another_corpus(tmp_path):
    path = csv_file(tmp_path / "own.csv")
    first = prepare(path).path
    assert prepare(path).path == first
    csv_file(path, FRAME.assign(a=1.5))
    assert prepare(path).path != first


HEAD = "a,b,label\n"
BAD = {
    "short": (HEAD + "1,2,x\n3,4\n", r"row 2 \(line 3\) has 2 values and the header 3"),
    "long": (HEAD + "1,2,x\n3,4,y,5\n", r"row 2 \(line 3\) has 4 values and the header 3"),
    "all rows longer": (HEAD + "1,2,3,x\n" * 3, r"row 1 \(line 2\) has 4 values"),
    "open quote": (HEAD + '1,2,x\n3,4,"y\n' + "5,6,x\n" * 3, r"after row 1 \(line 2\)"),
    "quote inside": (HEAD + '1,2,"x"y\n', "row 1"),
    "lines in a cell": (HEAD + '1,2,"x\ny"\n3,4\n', r"row 2 \(line 4\)"),
    "latin": (HEAD.encode() + b"1,2,\xe9\n", "row 1: it is no UTF-8 text"),
    "nothing": ("", "is empty"),
    "blank": ("\n \n\n", "is empty"),
    "header alone": (HEAD, "a header and no rows"),
    "twice": ("a,a,label\n1,2,x\n", "names the column 'a' 2 times"),
    "semicolons": ("a;b;label\n1;2;x\n", "separated by ';'"),
    "tabs": ("a\tb\tlabel\n1\t2\tx\n", "separated by"),
    "long cell": (HEAD + f"1,2,{'x' * 140_000}\n", "row 1: field larger"),
    "zeros": (HEAD + "1,2,x\n\0\0\0\n", "row 2|row 1|NUL"),
    "infinite": (HEAD + "inf,2,x\n" * 9, "not finite"),
    "no label": ("a,b\n1,2\n", "needs a label column"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("packed", [False, True])
def test_csv_files_that_are_refused(tmp_path, content, message, packed):
    content = content if isinstance(content, bytes) else content.encode()
    path = tmp_path / ("bad.csv.gz" if packed else "bad.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    for given_ in (path, tmp_path):
        with pytest.raises(ConfigError, match=message) as caught:
            prepare(given_)
        assert "bad.csv" in str(caught.value) or given_ == tmp_path
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["bad.parquet", "bad.csv.gz", "bad.tsv", "bad.csv"])
def test_other_bytes_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(256)) * 9)
    for given_ in (tmp_path / name, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read|UTF-8|parquet|separated"):
            prepare(given_)


@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    data=st.data(),
    cells=st.lists(
        st.lists(st.sampled_from(["1", "2.5", "", "x", '"y"', '"', "NA", "\r", "é", "-1e999"])),
        max_size=8,
    ),
)
def test_any_text_is_read_or_refused(tmp_path_factory, data, cells):
    text = "\n".join(",".join(row) for row in [["a", "label"], *cells]).encode()
    cut = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.mktemp("own") / "any.csv"
    path.write_bytes(text[:cut] + data.draw(st.sampled_from([b"", b"\xff", b"\0", b"\n"])) + b"")
    said = ""
    try:
        prepare(path)
    except ConfigError as error:
        said = str(error)
    assert said.isprintable()
    assert not said or "any.csv" in said


def test_files_that_are_no_tables_are_refused(tmp_path):
    for name in ("x.json", "x.png", "x", "x.parquet.gz", "x.csv.zip", "x.xlsx"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(ConfigError, match="neither a Parquet file nor a CSV file"):
            prepare(tmp_path / name)
    with pytest.raises(ConfigError, match="no file or folder"):
        prepare(tmp_path / "none.csv")


def test_tables_in_no_split_are_not_left_out_unsaid(tmp_path):
    for name in ("train", "test", "sample_submission"):
        csv_file(tmp_path / f"{name}.csv")
    with pytest.raises(ConfigError, match=r"sample_submission\.csv in none"):
        prepare(tmp_path)
    (tmp_path / "sample_submission.csv").rename(tmp_path / ".old.csv")
    assert len(prepare(tmp_path).x_test) == 30
    csv_file(tmp_path / "train-2.csv", FRAME.rename(columns={"b": "c"}))
    with pytest.raises(ConfigError, match=r"train\.csv: its columns .* train-2\.csv: b, c$"):
        prepare(tmp_path)


def test_files_from_elsewhere_are_refused(tmp_path):
    csv_file(tmp_path / "far" / "train.csv")
    csv_file(tmp_path / "own" / "train.csv")
    (tmp_path / "own" / "more").symlink_to(tmp_path / "far")
    with pytest.raises(ConfigError, match="more is a link to a folder"):
        prepare(tmp_path / "own")
    (tmp_path / "own" / "more").unlink()
    files = {"configs": [{"config_name": "own", "data_files": "../far/*.csv"}]}
    (tmp_path / "own" / "README.md").write_text(f"---\n{yaml.safe_dump(files)}---\n")
    with pytest.raises(ConfigError, match=r"leads to .*far/train\.csv"):
        prepare(tmp_path / "own")


def pictures(folder: Path, count: int = 8, side: int = 6) -> np.ndarray:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(crc32(folder.name.encode()))
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    return pixels


def test_folders_of_pictures_by_class(tmp_path):
    held = {name: pictures(tmp_path / "one" / name) for name in ("cat", "dog")}
    corpus = prepare(tmp_path / "one")
    assert corpus.class_names == ["cat", "dog"]
    assert corpus.shape == (3, 6, 6)
    assert (len(corpus.y_train), len(corpus.y_test)) == (13, 3)
    every = np.concatenate([corpus.x_train, corpus.x_test])
    for number, pixels in enumerate(held.values()):
        mine = every[np.concatenate([corpus.y_train, corpus.y_test]) == number]
        assert sorted(map(bytes, mine)) == sorted(map(bytes, pixels))
    first = corpus.path
    Image.fromarray(held["cat"][0]).save(tmp_path / "one" / "dog" / "0.png")
    assert prepare(tmp_path / "one").path != first


def test_folders_of_pictures_with_splits(tmp_path):
    for name in ("train/cat", "train/dog", "test/dog"):
        pictures(tmp_path / name)
    corpus = prepare(tmp_path)
    assert corpus.class_names == ["cat", "dog"]
    assert (len(corpus.y_train), corpus.y_test.tolist()) == (16, [1] * 8)
    for number in range(3):  # another class, whose folder is called as a split
        pictures(tmp_path / "more" / f"class{number}")
    with pytest.raises(ConfigError, match=r"more/class0/0\.png.* in none"):
        prepare(tmp_path)


def test_a_table_beside_pictures_says_their_classes(tmp_path):
    pixels = pictures(tmp_path / "own")
    rows = {"file_name": [f"{i}.png" for i in range(8)], "label": ["a", "b"] * 4, "site": range(8)}
    pd.DataFrame(rows).to_csv(tmp_path / "own" / "metadata.csv", index=False)
    corpus = prepare(tmp_path / "own")
    assert corpus.class_names == ["a", "b"]
    site = np.array(corpus.columns("train").column("site"))
    assert np.array_equal(corpus.x_train, pixels[site])
    first = corpus.path
    pd.DataFrame(rows | {"label": ["b", "a"] * 4}).to_csv(
        tmp_path / "own" / "metadata.csv", index=False
    )
    assert prepare(tmp_path / "own").path != first
    rows["file_name"][0] = "../own.png"
    pd.DataFrame(rows).to_csv(tmp_path / "own" / "metadata.csv", index=False)
    with pytest.raises(ConfigError):
        prepare(tmp_path / "own")


def test_pictures_that_are_refused(tmp_path):
    pictures(tmp_path / "flat")
    with pytest.raises(ConfigError, match="needs a label column"):
        prepare(tmp_path / "flat")
    pictures(tmp_path / "split" / "train")
    pictures(tmp_path / "split" / "test")
    with pytest.raises(ConfigError, match="needs a label column"):
        prepare(tmp_path / "split")
    pictures(tmp_path / "deep" / "cat")
    pictures(tmp_path / "deep" / "dog" / "old")
    with pytest.raises(ConfigError, match="different depths"):
        prepare(tmp_path / "deep")
    pictures(tmp_path / "size" / "cat")
    pictures(tmp_path / "size" / "dog", side=7)
    with pytest.raises(
        ConfigError, match=r"differ in size: \(6, 6\) and \(7, 7\) \(row 8, .*dog/0\.png\)"
    ):
        prepare(tmp_path / "size")
    pictures(tmp_path / "cut" / "cat")
    pictures(tmp_path / "cut" / "dog")
    (tmp_path / "cut" / "dog" / "3.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"image in row 11 cannot be read: .*dog/3\.png"):
        prepare(tmp_path / "cut")


def test_pictures_without_labels_are_a_transfer_set(tmp_path):
    for name in ("cat", "dog"):
        pictures(tmp_path / "own" / name, count=20)
    pictures(tmp_path / "public")
    run = {**WORDS, "model": "mlp", "data.samples_per_client": 5}
    words = {"transfer": {"data": str(tmp_path / "public"), "size": 6}}
    del run["transfer.size"]
    result = simulate("fedmd", tmp_path / "own", **run, **words)
    assert result.rounds.num_rows == 1


@pytest.mark.parametrize("name", ["my data (1).csv", "a,b.csv", "ümlaut=1.csv", "'quoted'.csv"])
def test_any_name_of_a_file_runs(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    csv_file(tmp_path / name)
    for shown in (name, f"./{name}", tmp_path / name):
        done = fedkd("run", "strategy=fedmd", f"data={shown}", *SMALL, f"run_dir={tmp_path / 'r'}")
        assert done.exit_code == 0, done.output
        (tmp_path / "r").rename(tmp_path / f"r{len(list(tmp_path.iterdir()))}")


def test_home_and_other_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    csv_file(tmp_path / "own.csv")
    csv_file(tmp_path / "public.csv", FRAME.drop(columns="label"))
    run_dir = tmp_path / "run"
    words = ["data=~/own.csv", "transfer.data=~/public.csv", *SMALL, f"run_dir={run_dir}"]
    assert fedkd("run", "strategy=fedmd", *words).exit_code == 0
    saved = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert saved["data"]["name"] == str(tmp_path / "own.csv")
    assert saved["transfer"]["data"] == str(tmp_path / "public.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    whole = simulate("fedmd", "~/own.csv", **WORDS | {"rounds": 2, "transfer.data": "~/public.csv"})
    assert resume(run_dir, rounds=2).summary["digest"] == whole.summary["digest"]
    again = ["data=../own.csv", "rounds=2"]  # the same file under another name
    assert fedkd("run", f"resume={run_dir}", *again).exit_code == 0
    csv_file(tmp_path / "other.csv", FRAME)
    done = fedkd("run", f"resume={run_dir}", "data=../other.csv", "rounds=3")
    assert done.exit_code == 2
    assert "data.name was" in done.stderr


def test_files_are_swept_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b (2).csv"):
        csv_file(tmp_path / name)
    sweep = ["-m", "data=a.csv,b (2).csv", f"run_dir={tmp_path / 'runs'}"]
    done = fedkd("run", "strategy=fedmd", *sweep, *SMALL)
    assert done.exit_code == 0, done.output
    found = sorted(tmp_path.glob("runs/*/summary.json"))
    names = [Path(json.loads(one.read_text())["data"]).name for one in found]
    assert sorted(names) == ["a.csv", "b (2).csv"]


def test_a_bad_file_is_one_line_of_the_command(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(BAD["short"][0])
    done = fedkd("run", f"data={path}", *SMALL)
    assert done.exit_code == 2
    assert done.stderr == (f"error: data={path}: row 2 (line 3) has 2 values and the header 3\n")


def test_a_file_that_may_not_be_read(tmp_path):
    path = csv_file(tmp_path / "own.csv")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read anything")
    with pytest.raises(ConfigError, match="cannot be read"):
        prepare(path)


def test_parquet_files_name_no_others(tmp_path):
    pictures(tmp_path / "secret")
    cells = [{"bytes": None, "path": str(tmp_path / "secret" / f"{i}.png")} for i in range(8)]
    kinds = datasets.Features(image=datasets.Image(decode=False), label=datasets.Value("int64"))
    table = datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * 4}, features=kinds)
    (tmp_path / "own").mkdir()
    pq.write_table(table.data.table, tmp_path / "own" / "train.parquet")
    Image.new("L", (4, 4)).save(tmp_path / "own" / "logo.png")  # makes it no folder of pictures
    for given_ in (tmp_path / "own", tmp_path / "own" / "train.parquet"):
        with pytest.raises(ConfigError, match="only a path"):
            prepare(given_)
