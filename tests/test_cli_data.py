"""What `fedkd data` shows of numbers and of texts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from fedkd.cli.app import app


def invoke(*args):
    result = CliRunner().invoke(app, list(args), env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_data_shows_numbers_by_their_histograms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    price = np.repeat([1.5, 100.0], 60)
    site = np.array(["a", "b"]).repeat(60)
    table = pa.table({"size": np.arange(120.0) % 7, "price": price, "site": site})
    pq.write_table(table, "prices.parquet")
    keys = ("data=./prices.parquet", "data.label=price", "data.client=site", "transfer.size=10")
    code, output = invoke("data", *keys, "--out", "p.png")
    assert code == 0, output
    lines = [line.split() for line in output.splitlines()]
    head = next(line for line in lines if line[:2] == ["client", "name"])
    assert head[-4:] == ["least", "median", "most", "histogram"]
    assert [line[-4:] for line in lines if line[:2] in (["0", "a"], ["1", "b"])] == [
        ["1.5", "1.5", "1.5", "█."],
        ["100", "100", "100", ".█"],
    ]
    assert ["bins", "<", "100,", ">=", "100"] in lines
    assert "main class" not in output


def test_data_shows_lengths_and_typical_words_of_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {"zoo": "see a zebra near the other zebra", "sea": "see a whale near the ship"}
    texts, site = [said[one] for one in said for _ in range(60)], list(said) * 60
    table = pa.table({"text": texts, "label": [0, 1] * 60, "site": sorted(site, reverse=True)})
    pq.write_table(table, "animals.parquet")
    keys = ("data=./animals.parquet", "data.client=site", "data.length=7", "transfer.size=10")
    code, output = invoke("data", *keys, "--out", "p.png")
    assert code == 0, output
    rows = [line.split() for line in output.splitlines()[-3:-1]]
    assert [row[:6] for row in rows] == [["0", *"6/6/6"], ["1", *"7/7/7"]]
    assert {word.strip(",") for word in rows[0][6:]} == {"whale", "ship"}
    assert {word.strip(",") for word in rows[1][6:]} == {"zebra", "other"}
