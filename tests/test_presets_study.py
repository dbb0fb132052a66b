"""The page of the presets says what its rows say."""

import csv
import re
import statistics
from pathlib import Path

import pytest
from fedkd.experiments.reproduce import presets, presets_page
from fedkd.experiments.reproduce.cells import saved

ROOT = Path(__file__).parents[1]
ROWS, PAGE = ROOT / presets.ROWS, ROOT / presets_page.PAGE


def row(method, seed, value, study="letter", models="alike", metric="accuracy"):
    cell = {"study": study, "models": models, "method": method, "seed": seed}
    return cell | {"metric": metric, "local": value, "overall": value}


def test_methods_are_compared_with_staying_alone_pair_by_pair():
    rows = [row("local", seed, value) for seed, value in enumerate((0.5, 0.7, 0.9))]
    rows += [row("knfu", seed, value) for seed, value in enumerate((0.52, 0.721, 0.922))]
    rows += [row("fedmd", seed, value) for seed, value in enumerate((0.3, 0.75, 0.95))]
    said = presets_page.verdict([*rows, row("fedavg", 0, 0.99)])
    few = "too few seeds to say `fedavg` alike."
    assert f"better `knfu` alike; no difference shown `fedmd` alike; {few}" in said
    rows = [r | {"metric": "rmse"} for r in rows]
    assert "worse `knfu` alike" in presets_page.verdict(rows)


def test_every_study_has_every_method_and_mixed_models():
    cells = presets.cells(3, list(presets.STUDIES))
    assert len(cells) == len({str(cell) for cell in cells}) == 3 * 5 * 7
    assert not [c for c in cells if c["models"] == "mixed" and c["method"] == "fedavg"]


def test_the_page_is_made_of_the_rows_that_are_kept():
    assert PAGE.read_text() == presets_page.page(saved(ROWS))


def test_its_numbers_are_those_of_the_rows_worked_out_another_way():
    with ROWS.open() as file:
        kept = list(csv.DictReader(file))
    text, cited = PAGE.read_text(), 0
    for study, part in re.findall(r"^\*\*([^*\n]+)\*\*\n\n(\|.*?)\n\n?-", text, re.M | re.S):
        for line in part.splitlines()[2:]:
            models, method, local, overall, *_ = (c.strip(" `") for c in line.strip("|").split("|"))
            own = [
                r for r in kept if (r["study"], r["models"], r["method"]) == (study, models, method)
            ]
            for shown, column in ((local, "local"), (overall, "overall")):
                if own:
                    mean = statistics.fmean(float(r[column]) for r in own)
                    scale = 100 if own[0]["metric"] == "accuracy" else 1
                    assert float(shown.split(" ")[0]) == pytest.approx(scale * mean, abs=0.501)
                    cited += 1
    assert cited >= 2 * len({(r["study"], r["models"], r["method"]) for r in kept}) > 0
