"""What is run for a claim is frozen before its first run, and rows belong to what was frozen."""

import json

import pytest
from fedkd.experiments.reproduce import (
    collaboration_gains,
    cross_check,
    fedgen_table1,
    fedproto_table1,
    knfu_phase,
    manifest,
    niid_fedavg,
    song_table2,
)
from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.kept import Kept
from fedkd.experiments.reproduce.tables import filled
from test_published_tables import ROOT

from fedkd.config import RunConfig

OLDER = (knfu_phase, collaboration_gains, fedgen_table1, fedproto_table1)
"""Claims that were run before there were manifests."""

CELLS = [{"alpha": 1.0, "seed": seed} for seed in (0, 1)]


def config(cell, **more):
    return RunConfig(seed=cell["seed"], **more)


def made(tmp_path, cells, configured=config):
    """Measure cells; return the rows, and what the manifest had when the first was begun."""
    rows, seen = tmp_path / "rows" / "it.csv", []

    def measure(cell):
        seen.append(len(manifest.freezings(rows)))
        return {"value": 0.5, "cpu_seconds": 1.0}

    filled(rows, cells, measure, configured, 1, False)
    return rows, seen


def test_cells_are_frozen_before_the_first_is_run(tmp_path):
    rows, seen = made(tmp_path, CELLS[:1])
    assert seen == [1]
    first = manifest.beside(rows).read_text()
    rows, seen = made(tmp_path, CELLS)  # one more, frozen by this call
    assert seen == [2]
    found = manifest.freezings(rows)
    assert found[0] == json.loads(first)[0]
    assert [run["cell"] for one in found for run in one["runs"]] == CELLS
    assert {manifest.differing(row, found) for row in saved(rows)} == {""}
    made(tmp_path, CELLS)
    assert manifest.freezings(rows) == found
    assert manifest.said("it", saved(rows)).endswith(": 2. Rows as frozen: 2 of 2.")


def test_what_was_changed_after_freezing_is_told(tmp_path, monkeypatch):
    rows, _ = made(tmp_path, CELLS)
    marked, found = saved(rows), manifest.freezings(rows)
    rows.unlink()
    made(tmp_path, CELLS[:1], lambda cell: config(cell, rounds=7))
    (other,) = saved(rows)
    assert manifest.differing(other, found) == "configuration"
    monkeypatch.setattr(manifest, "versions", lambda: {"torch": "0"})
    assert manifest.mark(config(CELLS[0])).split("-")[:2] == marked[0]["made_with"].split("-")[:2]
    strange = [other, marked[1] | {"seed": 9}, {**CELLS[0], "value": 0.1}]
    text = manifest.said("it", Kept(strange, rows))
    for words in (
        "made before it: 1;",
        "another configuration than frozen: 1",
        "another cell than",
    ):
        assert words in text


@pytest.mark.parametrize("study", [*OLDER, song_table2, niid_fedavg, cross_check])
def test_rows_of_claims_belong_to_their_manifests(study):
    rows, found = saved(ROOT / study.ROWS), manifest.freezings(ROOT / study.ROWS)
    told = {manifest.differing(row, found) for row in rows}
    assert told <= ({"", None} if study in OLDER else {""})
    runs = [run for one in found for run in one["runs"]]
    assert bool(runs) or study in OLDER
    for run in runs[::5]:  # what the script would run now
        now = manifest.hashed(manifest.key(study.config(run["cell"]).to_dict()))
        assert now == run["mark"].split("-")[0], run["cell"]
