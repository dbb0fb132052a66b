"""What is kept of decoded data sets: by content, whole, and nothing of the dead."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import LIMIT

from fedkd import ConfigError, simulate
from fedkd.data import Corpus, cache, prepare
from fedkd.data.columns import Choice
from fedkd.run.python import resume


@pytest.fixture
def shapes(png_folder, tmp_path) -> Path:
    return Path(shutil.copytree(png_folder, tmp_path / "shapes"))


def keep_times(path: Path, content: bytes) -> None:
    """Write other bytes of the same number into a file that looks untouched."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_pixels(folder: Path) -> None:
    """Change a picture of the training split in place, the file's size and times staying."""
    path = next(folder.glob("train*.parquet"))
    at = path.read_bytes()
    pictures = at.split(b"IDAT")  # both pictures' chunks are of one size: exchange two of them
    sizes: dict[int, int] = {}
    for index, part in enumerate(pictures[1:-1], 1):
        if len(part) in sizes:
            first = sizes[len(part)]
            if pictures[first] != part:
                pictures[first], pictures[index] = pictures[index], pictures[first]
                break
        sizes[len(part)] = index
    keep_times(path, b"IDAT".join(pictures))


def test_content_decides_not_size_and_time(shapes, tmp_path):
    first = prepare(shapes, tmp_path / "cache")
    other_pixels(shapes)
    second = prepare(shapes, tmp_path / "cache")
    assert second.path != first.path
    assert not np.array_equal(second.x_train, first.x_train)
    moved = Path(shutil.copytree(shapes, tmp_path / "elsewhere" / "shapes"))
    assert prepare(moved, tmp_path / "cache").path == second.path


FILES = ["x_train.npy", "y_test.npy", "meta.json", "columns_train.parquet"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_what_is_damaged_is_made_anew(tmp_path, name, damage):
    first = prepare("digits", tmp_path)
    path, whole = first.path / name, {f: (first.path / f).read_bytes() for f in FILES}
    if damage == "gone":
        path.unlink()
    else:
        half = len(whole[name]) // 2
        flipped = bytearray(whole[name])
        flipped[-9] ^= 1
        path.write_bytes({"cut": whole[name][:half], "flipped": flipped, "empty": b""}[damage])
    again = prepare("digits", tmp_path)
    assert again.path == first.path
    assert {f: (again.path / f).read_bytes() for f in FILES} == whole
    assert list(tmp_path.iterdir()) == [first.path]
    assert Corpus.open(again.path).tensor("train")[0].shape[1:] == (1, 8, 8)


def test_a_damaged_set_may_be_in_use(tmp_path):
    first = prepare("digits", tmp_path)
    before = first.x_train.copy()
    (first.path / "y_train.npy").write_bytes(b"")
    prepare("digits", tmp_path)
    assert np.array_equal(first.x_train, before)


DECODER = """
import sys
from dataclasses import replace
from pathlib import Path
from fedkd.data import cache
with cache.scratch_folder(Path(sys.argv[1])) as scratch:
    (scratch / "half").write_text("x")
    print(scratch, flush=True)
    sys.stdin.read()
"""


def decoder(root: Path) -> tuple[subprocess.Popen, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", DECODER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, Path(process.stdout.readline().strip())


def test_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    (dead, left), (alive, lent) = decoder(tmp_path), decoder(tmp_path)
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait(60)
        assert (left / "half").exists()
        corpus = prepare("digits", tmp_path)
        assert not left.exists()
        assert (lent / "half").exists()
        assert set(tmp_path.iterdir()) == {corpus.path, lent}
        alive.communicate("", timeout=LIMIT)
        assert list(tmp_path.iterdir()) == [corpus.path]
    finally:
        for process in (dead, alive):
            process.kill()
            process.wait(timeout=LIMIT)


def test_what_is_published_was_synced(tmp_path, monkeypatch):
    synced, publish = [], cache.publish
    fsync = os.fsync

    def watched(handle):
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def check(staged, target):
        names = {path.name for path in staged.iterdir()}
        assert names | {staged.name} <= set(synced)
        publish(staged, target)
        assert synced[-1] == target.parent.name

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr("fedkd.data.preparation.publish", check)
    prepare("digits", tmp_path)
    assert "meta.json" in synced


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(folder, meta):
        raise OSError(28, "No space left on device", str(folder / "x"))

    monkeypatch.setattr("fedkd.data.writing.seal", full)
    with pytest.raises(ConfigError, match=r"FEDKD_CACHE_DIR=.*No space left on device"):
        prepare("digits", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_changes_under_the_decoder_is_refused(shapes, tmp_path, monkeypatch):
    load = datasets.DatasetBuilder.as_dataset

    def slow(builder, split):
        found = load(builder, split)
        if split == "train":
            other_pixels(shapes)
        return found

    monkeypatch.setattr(datasets.DatasetBuilder, "as_dataset", slow)
    with pytest.raises(ConfigError, match="changes while it is read"):
        prepare(shapes, tmp_path / "cache")


def test_a_resume_notices_other_pictures(shapes, tmp_path):
    data = {"name": str(shapes), "alpha": None}
    settings = {"clients": 3, "engine": "inline", "transfer.size": 20, "checkpoint.every": 1}
    run_dir = tmp_path / "run"
    simulate("fedmd", data, rounds=1, run_dir=str(run_dir), **settings)
    split = (run_dir / "split.npz").read_bytes()
    other_pixels(shapes)
    with pytest.raises(ConfigError, match=r"the data changed .*force=true") as caught:
        resume(run_dir, rounds=2)
    assert caught.value.key == "resume"
    assert (run_dir / "split.npz").read_bytes() == split
    assert resume(run_dir, rounds=2, force=True).summary["rounds"] == 2
    assert resume(run_dir, rounds=3).summary["rounds"] == 3


def test_attacks_say_that_their_data_are_damaged(tmp_path):
    from fedkd.leakage.subject import Subject

    settings = {"clients": 3, "rounds": 1, "engine": "inline", "record.knowledge": True}
    simulate("fedmd", run_dir=str(tmp_path / "run"), **settings)
    spec = json.loads((tmp_path / "run" / "spec.json").read_text())
    copy = Path(shutil.copytree(spec["data"]["corpus"], tmp_path / "copy"))
    (copy / "x_train.npy").write_bytes(b"")
    spec["data"]["corpus"] = str(copy)
    (tmp_path / "run" / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(ConfigError, match="gone or damaged"):
        _ = Subject(tmp_path / "run").federation


def test_what_was_read_leniently_is_not_what_a_user_asked_for(tmp_path):
    rows = {"image": [Image.new("L", (4, 4), i) for i in range(20)]}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names="ab")})
    both = datasets.Dataset.from_dict(rows | {"label": [0, 1] * 10}, features=kinds)
    bare = both.remove_columns("label")
    for data, choice in ((bare, Choice()), (both, Choice("kind"))):
        public = prepare(
            data, tmp_path, "transfer.data", replace(choice, strict=False, optional=True)
        )
        assert public.labelled == (data is both)
        with pytest.raises(ConfigError, match=r"needs a label column|data\.label=kind: .* no such"):
            prepare(data, tmp_path, choice=choice)
    assert prepare(both, tmp_path).path.parent == tmp_path


def test_features_of_a_frame_beside_labels_are_a_choice(tmp_path):
    few = {"a": range(20), "b": [f"word {i % 12}" for i in range(20)]}
    data = pd.DataFrame(few), [0, 1] * 10
    assert prepare(data, tmp_path).shape == (1,)
    assert prepare(data, tmp_path, choice=Choice(features=("a", "b"))).shape[0] > 8
