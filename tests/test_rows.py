"""Rows that no page may be made of are refused in a line; pages are of the rows they are given."""

import re
from pathlib import Path

import pytest
import typer
from fedkd.experiments.reproduce import (
    byzantine,
    collaboration_gains,
    columns,
    cross_check,
    fedgen_table1,
    fedproto_table1,
    fusion_plan,
    kafal_curves_plan,
    knfu_phase_page,
    knfu_phase_plan,
    manifest,
    niid_fedavg,
    niid_fedavg_page,
    presets,
    seed_claims,
    seed_claims_page,
    song_table2,
)
from fedkd.experiments.reproduce.cells import saved
from test_published_tables import ROOT
from typer.testing import CliRunner

from fedkd.errors import ConfigError

FOLDER = ROOT / "docs" / "rows"
CELLS = {
    "byzantine": byzantine.cells(),
    "collaboration_gains": collaboration_gains.cells(),
    "cross_check": cross_check.cells(1),
    "cross_check_public": [
        dict.fromkeys(("code", "commit", "method", "change", "rounds", "seed"), "")
    ],
    "fedgen_table1": fedgen_table1.cells(1),
    "fedproto_table1": fedproto_table1.cells(1),
    "fusion": [fusion_plan.cell("", 0, 0, "", "")],
    "kafal_curves": kafal_curves_plan.wanted(["mnist"], 1),
    "knfu_phase": knfu_phase_plan.wanted("mnist"),
    "niid_fedavg": niid_fedavg.cells(1),
    "presets": presets.cells(1, ["letter"]),
    "seed_claims": seed_claims.cells(),
    "song_table2": song_table2.cells(1),
}
GOOD = {
    "rounds": "5",
    "method": '"fedavg"',
    "seed": "0",
    "overall": "0.9",
    "forgotten": "-0.1",
    "curve": '"0.50000 0.90000"',
    "bytes_up": "10",
    "cpu_seconds": "1.5",
    "made_with": "",
}


def written(path, *rows):
    lines = [",".join(f'"{name}"' for name in GOOD), *(",".join(row.values()) for row in rows)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def made(page, *options):
    app = typer.Typer()
    app.command()(page.command)
    return CliRunner().invoke(app, [str(one) for one in options])


@pytest.mark.parametrize(
    ("column", "field", "wrong"),
    [
        ("overall", "nan", "'nan' is no number"),
        ("overall", "-inf", "'-inf' is no number"),
        ("overall", "", "is empty"),
        ("overall", '""', "is empty"),
        ("overall", '"n/a"', "'n/a' is no number"),
        ("overall", "1_0", "'1_0' is no number"),
        ("overall", "83.2", "83.2 is not in [0, 1]"),
        ("overall", "-0.5", "-0.5 is not in [0, 1]"),
        ("forgotten", "-1.5", "-1.5 is not in [-1, 1]"),
        ("cpu_seconds", "-1", "-1.0 is not in [0, inf]"),
        ("seed", "one", "'one' is no number"),
        ("seed", "1.5", "1.5 is no whole number"),
        ("rounds", "true", "'true' is no number"),
        ("curve", '"0.50000 NaN"', "'NaN' is no number"),
        ("curve", '"0.5 90.0"', "90.0 is not in [0, 1]"),
        ("curve", "", "is empty"),
        ("method", "", "is empty"),
        ("made_with", "00043906", "43906 is no mark"),
    ],
)
def test_a_page_is_not_made_of_a_field_that_is_no_such_number(column, field, wrong, tmp_path):
    rows = written(tmp_path / "it.csv", GOOD | {"seed": "1"}, GOOD | {column: field})
    done = made(niid_fedavg_page, "--rows", rows, "--out", tmp_path / "page.md")
    said = f"error: rows={rows}: line 3, column {column}: {wrong}; {columns.REMEDY}\n"
    assert (done.exit_code, done.output) == (2, said)
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize("digits", ["0.9", "0.8"])
def test_a_page_is_not_made_of_two_rows_of_one_run(digits, tmp_path):
    rows = written(tmp_path / "it.csv", GOOD, GOOD | {"seed": "1"}, GOOD | {"overall": digits})
    rows.write_text(rows.read_text().replace("\n", "\n\n", 1))  # an editor counts empty lines
    done = made(niid_fedavg_page, "--rows", rows, "--out", tmp_path / "page.md")
    both = "line 3 and line 5 are of one run (rounds 5, method fedavg, seed 0)"
    assert (done.exit_code, done.output) == (2, f"error: rows={rows}: {both}; {columns.SECOND}\n")


@pytest.mark.parametrize("text", ["hello world\n", '"ways","local"\n'])
def test_a_file_without_a_row_is_no_study(text, tmp_path):
    rows = tmp_path / "it.csv"
    rows.write_text(text)
    done = made(niid_fedavg_page, "--rows", rows, "--out", tmp_path / "page.md")
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert f"rows={rows}: has no row; remove it" in done.output


@pytest.mark.parametrize("page", [niid_fedavg_page, seed_claims_page, knfu_phase_page])
def test_a_page_is_not_made_of_rows_that_lack_a_column(page, tmp_path):
    rows = tmp_path / "it.csv"
    rows.write_text('"ways","local"\n3,0.5\n')
    done = made(page, "--rows", rows, "--out", tmp_path / "page.md")
    assert done.exit_code == 2
    assert re.fullmatch(rf"error: rows={rows}: .*(column \w+; restore|own)\b.*\n", done.output)


def test_scores_of_another_metric_have_no_such_bounds_and_lists_one_length(tmp_path):
    rows = tmp_path / "it.csv"
    rows.write_text('"seed","metric","local","nearest"\n0,"rmse",648.2,"-"\n1,"alma",0.5,"0.5"\n')
    assert [row["local"] for row in saved(rows)] == [648.2, 0.5]
    rows.write_text('"seed","accuracies","labels"\n0,"0.5 0.6","200 400"\n1,"0.5","200 400"\n')
    with pytest.raises(ConfigError, match="line 3, column accuracies: has 1 numbers, and labels 2"):
        saved(rows)
    rows.write_text('"seed","metric","local"\n0,"alma",648.2\n')
    done = made(niid_fedavg_page, "--rows", rows)
    assert "line 2, column local: 648.2 is not in [0, 1]" in done.output


@pytest.mark.parametrize("name", CELLS)
def test_columns_of_rows_tell_a_run_or_are_known_to_be_measured(name):
    (first, *_), *_ = [saved(FOLDER / f"{name}.csv")]
    assert first.keys() == CELLS[name][0].keys() | (first.keys() & columns.MEASURED)
    assert not CELLS[name][0].keys() & columns.MEASURED
    for column, value in first.items():
        assert column in columns.BOUNDS or isinstance(value, str), column


def test_a_page_of_rows_elsewhere_has_the_manifest_beside_them(tmp_path):
    rows, out = tmp_path / "rows" / "mine.csv", tmp_path / "page.md"
    rows.parent.mkdir()
    rows.write_bytes((FOLDER / "niid_fedavg.csv").read_bytes())
    done = made(niid_fedavg_page, "--rows", rows, "--out", out)
    assert (done.exit_code, done.output) == (0, "")
    assert "Rows made without a manifest, so that none tells what was planned before: 1." in (
        text := out.read_text()
    )
    assert "[a row a run](rows/mine.csv)" in text
    assert f".niid_fedavg --rows {rows} --quick\n" in text
    assert f".niid_fedavg_page --rows {rows} --out {out}\n" in text
    text = (FOLDER / "niid_fedavg.json").read_text()
    manifest.beside(rows).write_text(text.replace('"seed": 0', '"seed": 7'))
    made(niid_fedavg_page, "--rows", rows, "--out", out)
    assert "in the [manifest](rows/mine.json): 1. Rows as frozen: 0 of 1" in out.read_text()
    manifest.beside(rows).write_text("no list")
    done = made(niid_fedavg_page, "--rows", rows, "--out", out)
    assert done.exit_code == 2
    assert re.fullmatch(
        r"error: rows=\S+mine\.json: is no manifest .*; restore it, .*\n", done.output
    )


def test_links_of_a_page_elsewhere_lead_to_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    rows, figure = tmp_path / "knfu_phase.csv", tmp_path / "figures" / "map.png"
    rows.write_text("".join((FOLDER / rows.name).read_text().splitlines(True)[:5]))
    out = tmp_path / "pages" / "knfu_phase.md"
    done = made(knfu_phase_page, "--rows", rows, "--out", out, "--picture", figure)
    assert (done.exit_code, done.output) == (0, "")
    links = re.findall(r"\]\(([^)#:]+)", out.read_text())
    assert {"../knfu_phase.csv", "../figures/map.png"} <= set(links)
    assert all((out.parent / link).exists() for link in links), links


def test_rows_where_an_earlier_call_left_them_know_their_file():
    assert saved(Path("none.csv")).path == Path("none.csv")
