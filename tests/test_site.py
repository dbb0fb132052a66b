"""The site: what is made from the code names all of it; the build is strict, and on its own."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from fedkd.cli.app import app
from fedkd.config import RunConfig
from fedkd.config.schema import STUDY
from fedkd.config.settings import flatten
from fedkd.plugins.table import SEAMS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def made(monkeypatch):
    """Let the scripts of the site be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "made"))


def test_the_reference_has_every_key_once(made):
    import reference

    keys = re.findall(r"^\| `([\w.]+)", reference.keys(), re.M)
    assert sorted(keys) == sorted([*flatten(RunConfig()), *STUDY])


def test_the_reference_has_every_plug_in(made):
    import reference

    page = reference.plugins()
    for name in ("knfu", "kl", "lenet5", "ksas", "noisy", "float16", "dp_sgd", "lma", "audit"):
        assert f"| `{name}` |" in page
    assert page.count("\n## ") == len(reference.LISTS) - 1  # all but the keys


def test_the_chooser_has_every_method_once_where_its_answers_lead(made):
    import chooser

    page = chooser.page()
    parts = dict(zip(chooser.SECTIONS, page.split("\n## ")[1:], strict=True))
    found = {need: re.findall(r"^\| \[`(\w+)`\]", part, re.M) for need, part in parts.items()}
    assert sorted(name for names in found.values() for name in names) == sorted(
        SEAMS["strategies"].shipped()
    )
    assert "fedavg" in found["no"]
    assert "knfu" in found["yes"]
    assert "fedgems" in found["labelled"]
    columns = dict(enumerate(chooser.COLUMNS))
    asked = re.findall(r'<label>([^<]*) <select data-of="(\d)">', page)
    assert [columns[int(n)] for _, n in asked] == list(chooser.COLUMNS[1:7])
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| [")]
    for question, number in asked:  # each answer is there, and is some cell's
        select = page.partition(f"{question} <select")[2].partition("</select>")[0]
        answers = set(re.findall(r'value="([^"]+)"', select))
        assert answers <= {word for row in cells for word in row[int(number)].split(", ")}


def test_the_map_has_every_room_and_arrows_lead_down(made):
    import rooms

    assert doctest.testmod(rooms).failed == 0
    table = rooms.table(ROOT / "CONTRIBUTING.md")
    drawing = rooms.drawn(table)
    assert re.findall(r"<text [^>]*>(\w+)</text>", drawing) == list(table)
    reached = {}  # what the arrows lead to, however far
    for name, others in rooms.needed(table).items():
        reached[name] = others.union(*(reached[other] for other in others))
        assert table[name][1] <= reached[name]
    for path in re.findall(r'<path d="([^"]+)"', drawing):
        heights = [int(y) for y in re.findall(r"-?\d+ (-?\d+)", path)]
        assert heights == sorted(heights)


@pytest.mark.slow
def test_the_site_builds_strictly_and_asks_nobody_for_anything(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    options = {"cwd": ROOT, "env": os.environ | quiet, "timeout": 280}
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.html")}
    assert len(pages) > 50
    loaded = r'<(?:script|img|iframe)[^>]*src="https?:|<link[^>]*href="https?:'
    assert [path for path, text in pages.items() if re.search(loaded, text)] == []
    assert 'id="fedkd.strategies.knfu.KnFu"' in pages[Path("api/strategies.html")]
    assert "<svg viewBox" in pages[Path("architecture.html")]


def test_the_table_of_objectives_has_every_one_and_says_what_each_needs(made):
    import objectives

    assert doctest.testmod(objectives).failed == 0
    rows = {row[0].strip("`"): row for row in objectives.rows()}
    shipped = {
        name for seam in SEAMS.values() if seam.key == "objective" for name in seam.shipped()
    }
    guards = {name for seam in SEAMS.values() if seam.key == "guard" for name in seam.shipped()}
    assert set(rows) == shipped | {f"guard={name}" for name in guards - {"none"}}
    assert rows["dkd"][1:6] == ("yes", "-", "no", "soft labels, logits", "per sample")
    assert rows["ctkd"][3] == "yes"
    assert [name for name, row in rows.items() if not row[7]] == []  # each says how sure it is
    assert objectives.page().count("\n| `") == len(rows)


@pytest.mark.parametrize(
    ("kind", "name"), re.findall(r"`(\w+)=(\w+)`", (ROOT / "docs/COVERAGE.md").read_text())
)
def test_what_the_coverage_names_is_there(kind, name):
    shipped = {other for seam in SEAMS.values() if seam.key == kind for other in seam.shipped()}
    assert name in shipped


def test_keys_and_options_that_the_coverage_names_are_there():
    text = (ROOT / "docs/COVERAGE.md").read_text()
    keys = set(re.findall(r"`([a-z]+\.[a-z_]+)[=`]", text))
    assert {"data.text", "fit.align"} <= keys
    assert keys <= set(flatten(RunConfig()))
    objectives = re.search(r"Beside them (.*?):", text, re.S)[1]
    assert set(re.findall(r"`(\w+)`", objectives)) <= set(SEAMS["objectives"].shipped())
    command = typer.main.get_command(app).commands["list"]
    options = {flag for each in command.params for flag in each.opts}
    assert set(re.findall(r"`fedkd list \w+ (--\w+)`", text)) <= options
