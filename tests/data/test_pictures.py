"""Pictures and arrays: all of them decide what they become, or they are refused as seen."""

import io
import struct
import zlib

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from fedkd.data import prepare
from fedkd.errors import ConfigError

RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 3


def encoded(pixels, mode=None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(cells, **columns) -> datasets.Dataset:
    held = [{"bytes": cell, "path": None} for cell in cells]
    columns = columns or {"image": held}
    kinds = {name: datasets.Image() for name in columns} | {"label": datasets.Value("int64")}
    labels = (np.arange(len(cells)) % 3).tolist()
    return datasets.Dataset.from_dict(
        columns | {"label": labels}, features=datasets.Features(kinds)
    )


def noise(*shape) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("first", ["grey", "colour"])
def test_one_picture_in_colour_keeps_all_in_colour(first):
    grey, colour = noise(6, 5, 4), noise(6, 5, 4, 3)
    cells = [[encoded(one) for one in kind] for kind in (grey, colour)]
    cells = cells[0] + cells[1] if first == "grey" else cells[1] + cells[0]
    whole = {"train": pictures(cells), "test": pictures(cells)}
    corpus = prepare(datasets.DatasetDict(whole))
    assert corpus.shape == (3, 5, 4)
    at = slice(6, 12) if first == "grey" else slice(6)
    assert np.array_equal(corpus.x_train[at], colour)
    rest = slice(6) if first == "grey" else slice(6, 12)
    assert np.array_equal(corpus.x_train[rest], np.repeat(grey[..., None], 3, axis=3))
    assert "6 grey ones as RGB" in corpus.note


def test_lost_transparency_is_said():
    corpus = prepare(pictures([encoded(one) for one in noise(12, 5, 4, 4)]))
    assert corpus.shape == (3, 5, 4)
    assert "12 without their transparency" in corpus.note


@pytest.mark.filterwarnings("error")
def test_lost_transparency_of_palettes_is_said_once():
    buffer = io.BytesIO()
    palette = Image.fromarray(noise(5, 4, 4), "RGBA").quantize(8)
    palette.save(buffer, "PNG", transparency=bytes(range(8)))
    corpus = prepare(pictures([buffer.getvalue()] * 12))
    assert "12 without their transparency" in corpus.note


def test_pictures_that_are_not_there_are_missing():
    with pytest.raises(ConfigError, match=r"row 11 cannot be read: missing"):
        prepare(pictures([encoded(noise(5, 4))] * 11 + [b""]))


def test_two_columns_of_pictures_are_not_guessed_between():
    cells = [{"bytes": encoded(one), "path": None} for one in noise(12, 5, 4)]
    with pytest.raises(ConfigError, match=r"several columns of pictures \(left, right\)"):
        prepare(pictures(cells, left=cells, right=cells))
    assert "other (" in prepare(pictures(cells, image=cells, other=cells)).note


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 99)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("side", [10_000, 30_000])
@pytest.mark.parametrize("row", [0, 1])
def test_picture_bombs_are_refused(side, row):
    cells = [encoded(one) for one in noise(4, 5, 4)]
    cells[row] = bomb(side, side)
    with pytest.raises(ConfigError, match=f"row {row}.*(decompression bomb|differ in size)|size"):
        prepare(pictures(cells))


@pytest.mark.parametrize("cut", [9, 30, 50, 60])
def test_truncated_pictures_are_refused(cut):
    cells = [encoded(one) for one in noise(4, 16, 16)]
    cells[2] = cells[2][:cut]
    with pytest.raises(ConfigError, match="image in row 2 cannot be read"):
        prepare(pictures(cells))


def test_pictures_that_a_parquet_file_only_names_are_refused(tmp_path):
    Image.fromarray(noise(5, 4)).save(tmp_path / "a.png")
    cells = [{"bytes": None, "path": str(tmp_path / "a.png")}] * 6
    data = pictures(cells, image=cells)
    assert prepare(data).shape == (1, 5, 4)  # the user's own object may
    first = prepare(data).path
    Image.fromarray(noise(5, 4)).save(tmp_path / "a.png")
    assert prepare(data).path != first
    (tmp_path / "own").mkdir()
    table = data.with_format("arrow")[:].replace_schema_metadata()
    import pyarrow.parquet as pq

    pq.write_table(table, tmp_path / "own" / "train.parquet")
    with pytest.raises(ConfigError, match=r"row 0.*only a path"):
        prepare(tmp_path / "own")


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((12, 5, 8, 8), (5, 8, 8)),
        ((12, 8, 8, 5), (5, 8, 8)),
        ((12, 3, 8, 9), (3, 8, 9)),
        ((12, 8, 9, 3), (3, 8, 9)),
        ((12, 1, 8, 9), (1, 8, 9)),
        ((12, 3, 3, 9), (3, 3, 9)),
        ((12, 5, 8, 9), None),
        ((12, 3, 3, 3), None),
        ((12, 6, 6, 6), None),
    ],
)
def test_channels_of_bytes_are_found_or_asked_for(shape, found):
    x = noise(*shape)
    if found is None:
        with pytest.raises(ConfigError, match=r"where are the channels"):
            prepare((x, LABELS))
        return
    corpus = prepare((x, LABELS, x, LABELS))
    assert corpus.shape == found
    first = x if shape[1:] == found else np.moveaxis(x, -1, 1)
    mean = torch.tensor(corpus.mean).view(1, -1, 1, 1)
    std = torch.tensor(corpus.std).view(1, -1, 1, 1)
    got = corpus.tensor("train")[0] * std + mean
    assert torch.allclose(got, torch.tensor(first / 255).float(), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(12, 8, 8, 3), (12, 8, 8, 1), (12, 8, 9, 4)])
def test_numbers_with_channels_last_are_refused(shape, dtype):
    x = noise(*shape).astype(dtype)
    with pytest.raises(ConfigError, match=r"channels last; .*np\.moveaxis\(x, -1, 1\)"):
        prepare((x, LABELS))
    assert prepare((np.moveaxis(x, -1, 1), LABELS)).shape == (shape[3], *shape[1:3])


@pytest.mark.parametrize("shape", [(12, 64, 20, 1), (12, 16, 7, 7), (12, 3, 4, 4), (12, 8, 8)])
def test_other_features_stay_as_given(shape):
    assert prepare((np.ones(shape), LABELS)).shape == shape[1:]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((12, 2), np.complex64), "real and imaginary part"),
        (np.array([["1", "2"]] * 12), "not text"),
        (np.zeros((12, 2), "M8[D]"), "real numbers"),
        (np.array([["1", 2]] * 12, dtype=object), "not text"),
        (np.array([[None, 2]] * 12, dtype=object), "real numbers"),
        (np.ma.masked_equal(np.eye(12), 1), "masked"),
        ([np.zeros((4, 4))] * 11 + [np.zeros((4, 5))], r"\(4, 4\) and \(4, 5\)"),
        ([noise(4, 4)] * 11 + [noise(4, 4, 3)], r"\(4, 4\) and \(4, 4, 3\)"),
        (np.zeros((12, 0)), "not empty"),
        (np.full((12, 2), 1e300), "not finite"),
        (torch.zeros(12, 2).to_sparse(), "no array"),
        (np.zeros(12), r"\[samples, \.\.\.\]"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(x, message):
    with pytest.raises(ConfigError, match=message) as caught:
        prepare((x, LABELS))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_tensors_lists_and_objects_are_arrays():
    x, y = np.arange(48, dtype=np.float32).reshape(12, 4), LABELS
    path = prepare((x, y)).path
    objects = np.empty(12, dtype=object)
    objects[:] = list(x)
    tensors = torch.tensor(x, requires_grad=True), torch.tensor(x).bfloat16()
    rows = [torch.tensor(row, requires_grad=True) for row in x]
    for given in (*tensors, rows, x.tolist(), list(x), objects):
        assert prepare((given, torch.tensor(y))).path == path
