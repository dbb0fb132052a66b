"""The cross-check: our side is what it is said to be, the page what both files of rows say."""

import csv
import re
import statistics

import numpy as np
import pytest
import torch
from fedkd.experiments.reproduce import cross_check, cross_check_export, cross_check_page
from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.cross_check_parts import Net
from fedkd.experiments.reproduce.cross_check_words import AS_IS, CHANGES, CODES, WITHOUT
from fedkd.experiments.reproduce.tables import configured
from test_published_tables import ROOT
from torch.nn import functional as F

from fedkd import simulate
from fedkd.models.flat import flatten, unflatten

FEW = {"data": {"name": "digits", "alpha": 0.5, "samples_per_client": 20}, "clients": 3}


def small(method, **more):
    """A cell's settings on a small data set: 2 rounds of 2 batches."""
    cell = {"method": method, "rounds": 2, "seed": 1}
    found = cross_check.settings(cell) | FEW | more
    return found | {"client": {**found["client"], "steps": 2}}


def test_alone_a_client_is_a_plain_loop_over_what_is_exported():
    settings = small("local")
    given = cross_check_export.exported(configured(settings))
    result = simulate(**settings)
    for client in range(3):
        model = unflatten(Net((1, 8, 8), 10), torch.tensor(given["start"]))
        x, y = (torch.tensor(given[f"{name}_{client}"]) for name in "xy")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for rows in [*torch.arange(20).split(10)] * 2:
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        assert torch.allclose(flatten(model), flatten(result.model(client)), atol=1e-6)
    assert len(given["x_test"]) == len(given["y_test"]) > 0


def test_transfer_samples_are_exported_where_a_method_has_some():
    settings = small("dsfl", transfer={"size": 7})
    given = cross_check_export.exported(configured(settings))
    assert given["x_transfer"].shape == (7, 1, 8, 8)
    own = np.concatenate([given[f"x_{client}"] for client in range(3)]).reshape(60, -1)
    gaps = np.abs(given["x_transfer"].reshape(7, 1, -1) - own).max(axis=2)
    assert gaps.min() > 0  # no client's


def test_arrays_are_written_for_other_code(tmp_path, monkeypatch):
    monkeypatch.setattr(cross_check_export, "config", lambda cell: configured(small("local")))
    cross_check_export.command(to=tmp_path / "it.npz")
    with np.load(tmp_path / "it.npz") as arrays:
        assert set(arrays) == {
            *(f"{name}_{which}" for name in "xy" for which in (0, 1, 2, "test")),
            *("x_transfer", "start", "start_mentee"),
        }
        assert not np.array_equal(arrays["start"], arrays["start_mentee"])


@pytest.mark.parametrize("method", [m for m in cross_check.METHODS if m != "local"])
def test_our_side_of_every_method_runs(method):
    more = {"transfer": {"size": 7}} if method in cross_check.DISTILLING else {}
    result = simulate(**small(method, **more))
    assert np.isfinite(result.summary["alma_global"]["last"])


def test_fmls_losses_are_those_of_the_public_code_at_another_rate():
    cell = {"method": "fml", "rounds": 2, "seed": 0}
    rate, ours = cross_check.settings(cell)["fit"]["lr"], cross_check.strategy(cell)
    for share in (ours["alpha"], ours["beta"]):  # 0.5 CE + 0.5 KL / 10, at a rate of 0.01
        assert rate * share == pytest.approx(0.01 * 0.5)
        assert rate * (1 - share) == pytest.approx(0.01 * 0.5 / 10)


def both(change="-", by=0.0, seeds=3):
    """Rows of both sides for FedProto; ours are so much better."""
    cells = [{"rounds": 20, "method": "fedproto", "seed": seed} for seed in range(seeds)]
    theirs = [c | {"change": change, "local": 0.8, "overall": 0.5 + c["seed"] / 100} for c in cells]
    numbers = [{name: one[name] + by for name in ("local", "overall")} for one in theirs]
    return [c | n for c, n in zip(cells, numbers, strict=True)], theirs


@pytest.mark.parametrize(
    ("by", "seeds", "word"),
    [
        (0.0, 3, "reproduced"),
        (0.009, 3, "reproduced"),
        (0.02, 3, "not reproduced"),
        (-0.02, 3, "not reproduced"),
        (0.0, 2, "not tried"),
    ],
)
def test_sides_are_the_same_within_a_point(by, seeds, word):
    ours, theirs = both(by=by, seeds=seeds)
    assert cross_check_page.verdict(ours, theirs, "fedproto", AS_IS)[0] == word
    assert cross_check_page.verdict(ours, theirs, "fedproto", "means after the fit")[0] == (
        "not tried"
    )


def test_no_difference_is_told_as_such_and_by_its_sign():
    ours, theirs = both()
    told = cross_check_page.verdict(ours, theirs, "fedproto", AS_IS)[1]
    assert told == "equal to the last digit in 3 of 3 seeds"
    ours, theirs = both(by=0.02)
    told = cross_check_page.verdict(ours, theirs, "fedproto", AS_IS)[1]
    assert told == "local +2.00 ± 0.00 points, global +2.00 ± 0.00 points"


def test_the_page_is_made_of_both_files_and_has_their_numbers_worked_out_another_way():
    text = (ROOT / cross_check_page.PAGE).read_text()
    public = saved(ROOT / cross_check.PUBLIC)
    assert text == cross_check_page.page(saved(ROOT / cross_check.ROWS), public)
    kept = []
    for path in (cross_check.ROWS, cross_check.PUBLIC):
        with (ROOT / path).open() as file:
            kept.append(list(csv.DictReader(file)))
    cell, gap, seen = r" ([^|]+) \|", r" [^|]+ \|", 0
    line = re.compile(rf"^\| `(\w+)` \|{cell}{2 * cell}{gap}{2 * cell}", re.M)
    parts = re.split(r"^## .*: (\d+) rounds$", text, flags=re.M)
    for rounds, part in zip(parts[1::2], parts[2::2], strict=True):
        for method, change, *cells in line.findall(part):
            ours = {"method": method, "rounds": rounds}
            sides = [
                [row for row in rows if about.items() <= row.items()]
                for rows, about in zip(kept, (ours, ours | {"change": change}), strict=True)
            ]
            places = [(side, name) for name in ("local", "overall") for side in sides]
            for (side, name), shown in zip(places, cells, strict=True):
                if side:
                    mean = 100 * statistics.fmean(float(row[name]) for row in side)
                    assert float(shown.partition(" ")[0]) == pytest.approx(mean, abs=0.006)
                    seen += 1
                assert bool(side) == (shown != "-")
    assert seen > 4 * len(cross_check.METHODS)


def test_figures_of_public_code_are_of_known_methods_changes_and_one_commit_each():
    rows = saved(ROOT / cross_check.PUBLIC)
    for row in rows:
        assert row["change"] in (AS_IS, *CHANGES.get(row["method"], {}))
        whole = row["change"] == AS_IS and row["rounds"] == cross_check.FULL
        assert not (whole and row["method"] in WITHOUT)
        assert row["code"] == ("SCARLET" if row["method"] in CODES else "HtFLlib")
        assert re.fullmatch("[0-9a-f]{40}", row["commit"])
    assert len({(row["code"], row["commit"]) for row in rows}) == 2
