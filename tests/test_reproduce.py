"""The studies that fill a table: what is done is kept, and the table is ranked."""

import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from fedkd.experiments.reproduce import objectives, privacy_study
from fedkd.experiments.reproduce.cells import fill, missing, saved
from fedkd.experiments.reproduce.objectives_studies import MNIST
from support import LIMIT

from fedkd.config.overrides import compose
from fedkd.errors import ConfigError
from fedkd.plugins.table import SEAMS

CELLS = [{"seed": seed} for seed in range(3)]


def squared(cell):
    return {"square": cell["seed"] ** 2}


def test_a_table_is_filled_on_disk_and_only_what_is_missing_is_measured(tmp_path):
    path = tmp_path / "study" / "table.parquet"
    first = fill(path, CELLS, squared)
    next(first)
    assert saved(path) == [{"seed": 0, "square": 0}]
    first.close()
    seen = [len(rows) for rows in fill(path, CELLS, squared)]
    assert seen == [2, 3]
    assert pq.read_table(path)["square"].to_pylist() == [0, 1, 4]
    assert missing(CELLS, saved(path)) == []
    assert list(fill(path, CELLS, squared)) == []


def test_rows_that_are_no_table_or_another_study_s_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"rows\.csv: is no table of rows"):
        saved(path)
    path.write_text('"ways","local"\n3,0.5\n')
    with pytest.raises(ConfigError, match="rows without seed are another study's"):
        next(fill(path, CELLS, squared))
    assert saved(path) == [{"ways": 3, "local": 0.5}]


def test_what_is_measured_since_is_kept_too(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('"seed"\n0\n')
    assert len([*fill(path, CELLS, squared)]) == 2
    assert [row["square"] for row in saved(path)] == [None, 1, 4]


def test_several_processes_fill_it_in_order(tmp_path):
    *_, rows = fill(tmp_path / "table.parquet", CELLS, dict, jobs=2)
    assert rows == CELLS


def test_it_says_what_it_does():
    command = [sys.executable, "-m", "fedkd.experiments.reproduce.fusion_table", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert "as it comes and tuned" in done.stdout


def test_the_privacy_study_has_a_run_for_every_protection():
    cells = privacy_study.cells(seeds=3, shadows=0)
    assert len({privacy_study.name(cell) for cell in cells}) == len(cells) == 3 * 2 * (2 + 2 * 4)
    for cell in privacy_study.cells(seeds=1, shadows=0):
        config = compose(privacy_study.overrides(cell))
        assert config.record.knowledge
        assert config.privacy.get("epsilon") == cell["epsilon"]


@pytest.mark.slow
def test_the_privacy_study_runs_attacks_and_draws(tmp_path):
    cells = [
        {"seed": 0, "strategy": "knfu", "privacy": name, "epsilon": epsilon, "shadows": 0}
        for name, epsilon in (("none", None), ("gaussian", 8.0))
    ]
    rows = [privacy_study.measured(cell, tmp_path) for cell in cells]
    assert rows[0]["kl"] < rows[1]["kl"]  # noise hides the label shares
    folders = [tmp_path / "runs" / privacy_study.name(cell) for cell in cells]
    text = privacy_study.draw(folders, tmp_path)
    assert f"{rows[0]['auc']:.3f}" in text
    assert "What protection costs" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "privacy_study.png").stat().st_size > 1000


def test_a_table_may_be_csv_and_a_cell_left_for_another_call(tmp_path):
    path = tmp_path / "table.csv"
    cells = [
        {"seed": seed, "alpha": alpha, "name": "kl"} for seed in (0, 1) for alpha in (0.1, 1.0)
    ]
    half = lambda cell: None if cell["seed"] else {"a": 0.5}  # noqa: E731
    assert [rows[-1]["seed"] for rows in fill(path, cells, half)] == [0, 0]
    assert missing(cells, saved(path)) == cells[2:]
    assert [len(rows) for rows in fill(path, cells, lambda cell: {"a": 0.25})] == [3, 4]
    assert [row["a"] for row in saved(path)] == [0.5, 0.5, 0.25, 0.25]
    assert [found.name for found in tmp_path.iterdir()] == ["table.csv"]


def test_every_objective_that_learns_from_logits_is_in_the_study():
    ways = objectives.learned()
    plain = {way["objective"] for way in ways if way["guard"] == "none"}
    shipped = SEAMS["objectives"].shipped()
    assert set(shipped) - plain == {"gaussian_kl", "instance_similarity"}
    assert {way["objective"] for way in ways if way["guard"] != "none"} <= {"kl"}
    labelled = {way["objective"] for way in ways if way["labels"] and way["guard"] == "none"}
    assert {"dkd", "nkd", "ofa"} <= labelled
    assert "kl" not in labelled


def test_a_part_of_the_study_is_chosen_by_name_and_is_a_run_of_its_own():
    ways = objectives.chosen("kl,dkd")
    cells = objectives.cells(MNIST, 2, ways)
    assert [cell["seed"] for cell in cells] == [0] * 16 + [1] * 16  # seeds outermost
    configs = [compose(objectives.overrides(MNIST, cell)) for cell in cells]
    assert len({str(config) for config in configs}) == len(cells)
    assert {c.transfer.labelled for c in configs if c.objective["name"] == "dkd"} == {True}
    with pytest.raises(ConfigError, match="--only=kll: no such objective or guard"):
        objectives.chosen("kl,kll")


def test_a_run_that_is_refused_is_said_and_left(capsys):
    cell = objectives.cells(MNIST, 1, objectives.chosen("dkd"), quick=True)[0]
    assert objectives.measured(MNIST, cell | {"labels": False}) is None
    assert "left out: experiment=objectives_mnist" in capsys.readouterr().err
