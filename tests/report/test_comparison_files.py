"""What a comparison looks like in each format, and that an ending chooses it."""

import io
import json
import shutil
import subprocess

import pandas as pd
import pytest
from rich.console import Console
from support import LIMIT, fedkd

from fedkd.errors import ConfigError
from fedkd.report.comparison import compare
from fedkd.report.drawing.critical import critical_figure
from fedkd.report.page import html
from fedkd.report.printing import print_comparison
from fedkd.report.significance import Ranks
from fedkd.report.writing import FORMATS, html_table


@pytest.mark.parametrize("ending", [ending for ending in FORMATS if ending != ".html"])
def test_an_ending_chooses_the_format(compared, tmp_path, ending):
    content = compared.save(tmp_path / f"new/t{ending.upper()}").read_bytes()
    begins = {
        ".md": b"| setting |", ".tex": b"% ", ".csv": b"arm,setting", ".json": b"{",
        ".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG",
    }  # fmt: skip
    assert content.startswith(begins[ending])


def test_an_unknown_ending_is_refused_before_anything_is_read(compared, tmp_path):
    for out in ("t.xlsx", "t"):
        done = fedkd("compare", tmp_path / "nowhere", "--out", out)
        assert done.exit_code == 2
        assert f"out={out}: unknown ending" in done.output
        assert ".csv, .html, .json, .md, .pdf, .png, .svg, .tex" in done.output
    done = fedkd("report", compared.runs[0].path, "--out", tmp_path / "t.csv")
    assert "a report is HTML, and ends in .html" in done.output
    with pytest.raises(ConfigError, match="cannot be written"):
        compared.save(compared.runs[0].path / "config.yaml/t.md")


def test_a_csv_and_a_json_have_all_digits(compared, tmp_path):
    again = pd.read_csv(compared.save(tmp_path / "t.csv"))
    assert again["difference"].dropna().tolist() == compared.table["difference"].dropna().tolist()
    content = json.loads(compared.save(tmp_path / "t.json").read_text())
    [base, *_] = [row for row in content["table"] if row["arm"] == "fedmd"]
    assert (base["seeds"], base["p"], base["best"]) == (3, None, False)
    assert content["ranks"]["average"] == {"knfu": 1.0, "fedmd": 2.0, "a_b|c%<i>": 3.0}
    assert len(content["values"]) == 18


def test_a_markdown_table(compared, tmp_path):
    lines = compared.save(tmp_path / "t.md").read_text().splitlines()
    row = "| data.alpha=0.1 | knfu | 3 | **61.5 ± 1.6** |"
    [knfu] = [line for line in lines if line.startswith(row)]
    assert "| +10.1 | +9.9 to +10.3 | +101.00 |" in knfu
    assert any("a_b\\|c%<i>" in line for line in lines)
    assert lines[-1].startswith("- ")


def test_a_latex_table_has_a_row_a_method_and_a_column_a_setting(compared, tmp_path):
    text = compared.save(tmp_path / "t.tex").read_text()
    assert "strategy & data.alpha=0.1 & data.alpha=1.0 & rank \\\\" in text
    best = r"$\mathbf{61.5 \pm 1.6}^{*}$"
    assert rf"knfu & {best} & {best} & 1.00 \\" in text
    assert r"a\_b|c\%\textless{}i\textgreater{} & $41.5 \pm 1.6^{*}$" in text
    assert r"fedmd & $51.4 \pm 1.5$ &" in text
    assert text.index("\\toprule") < text.index("\\midrule") < text.index("\\bottomrule")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles(compared, tmp_path):
    compared.save(tmp_path / "t.tex")
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{t}\end{document}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=LIMIT, capture_output=True)
    assert (tmp_path / "page.pdf").is_file()


def test_html_is_escaped_and_has_ranks(compared):
    for text in (html_table(compared), html(compared.runs[:1], compared)):
        assert "a_b|c%&lt;i&gt;" in text
        assert "<i>" not in text
        assert "<b>61.5 ± 1.6</b>" in text
    assert text.startswith("<!doctype html>")
    assert "<h2>Statistics</h2>" in text
    assert "CD = " in text


def test_a_console_shows_the_table_and_its_notes(compared):
    console = Console(width=80, record=True, file=io.StringIO())
    print_comparison(compared, console)
    text = console.export_text()
    assert "61.5 ± 1.6" in text
    assert "knfu 1.00, fedmd 2.00" in text


def test_a_picture_needs_several_settings(make_run, tmp_path):
    make_run("study/a")
    with pytest.raises(ConfigError, match="add --over KEY"):
        compare(make_run.root / "study").save(tmp_path / "t.svg")


def test_the_command_writes_what_is_asked(compared, tmp_path):
    table, folder = tmp_path / "t.tex", compared.runs[0].path.parent
    done = fedkd(
        *("compare", folder, "--by", "strategy", "--over", "data.alpha"),
        *("--metric", "alma_local", "--baseline", "fedmd", "--test", "permutation"),
        *("--out", table),
    )
    assert done.exit_code == 0, done.output
    assert "Δ to fedmd" in done.output
    assert str(table) in done.output.replace("\n", "")
    assert table.read_text().startswith("% ")
    assert not (folder / "report.html").exists()


def test_critical_difference_of_demsar():
    """Four methods on 14 data sets: q = 2.569, CD = 1.25 (Demšar, 2006, section 3.2.3)."""
    means = pd.DataFrame([[4.0, 3.0, 2.0, 1.0]] * 14, columns=list("abcd"))
    ranks = Ranks.of(means, more=True)
    assert ranks.critical == pytest.approx(1.25, abs=0.005)
    assert ranks.alike() == [["a", "b"], ["b", "c"], ["c", "d"]]
    texts = [text.get_text() for text in critical_figure(ranks).axes[0].texts]
    assert texts[1:] == ["a  1.00", "b  2.00", "c  3.00", "d  4.00"]


def test_ties_share_ranks_and_nothing_to_tell_apart_is_no_test():
    ranks = Ranks.of(pd.DataFrame([[1.0, 1.0, 1.0]] * 3, columns=list("abc")), more=False)
    assert ranks.average.to_dict() == {"a": 2.0, "b": 2.0, "c": 2.0}
    assert pd.isna(ranks.p)
    assert ranks.alike() == [["a", "b", "c"]]
