"""The site: what is made from the code names all of it; the build is strict, and on its own."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedkd.config import RunConfig
from fedkd.config.schema import STUDY
from fedkd.config.settings import flatten

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
