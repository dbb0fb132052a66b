"""What README and guides show works: every block of code in them runs, in the order of the page.

A block that begins with ``# NAME.py`` or ``# NAME.yaml`` is that file; any other Python block runs,
after those before it.
Commands run in this process, on digits, with the sizes of `SMALL` and one seed. A block after
``<!-- not run: REASON -->`` is only read: its Python must compile, its keys must exist.
"""

import glob
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fedkd.cli.app import app
from fedkd.config.overrides import compose, sweep

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SLOW = ("README", "study", "privacy", "active")
"""Pages with several sweeps and their reports: more than 3 s."""
SMALL = {
    "clients": "5",
    "rounds": "2",
    "engine": "inline",
    "transfer.size": "60",
    "data.samples_per_client": "20",
    "fit.epochs": "1",
}
DEALT = ("clients", "data.samples_per_client")
"""What clients that come with the data have already."""
FENCE = re.compile(r"^(<!-- not run: .+ -->\n)?^```(python|sh|yaml)\n(.*?)^```$", re.M | re.S)


def blocks(page):
    """Yield the language and the text of each block, and whether it runs."""
    for skipped, language, text in FENCE.findall(page.read_text()):
        yield language, text, not skipped


def commands(text):
    """Yield the words of each command, lines that end in a backslash put together."""
    for line in re.split(r"\n|&&", text.replace("\\\n", " ")):
        words = shlex.split(line, comments=True)
        if words and words[0] == "fedkd":
            yield words[1:]


def small(words):
    """Return a command that takes no time: `SMALL` in place of what it says of these keys."""
    command, *rest = words
    if command not in ("run", "data"):
        return [command, *(path for word in rest for path in sorted(glob.glob(word)) or [word])]
    given = [w for w in rest if not re.match(r"(data|engine(\..+)?)=[\w.]+$|seed=", w)]
    swept = {word.partition("=")[0] for word in given if re.search(r"=.*[,(]", word)}
    sizes = {} if any(word.startswith("resume=") for word in given) else SMALL
    if any(word.startswith("data.client=") for word in given):
        sizes = {key: value for key, value in sizes.items() if key not in DEALT}
    kept = [w for w in given if w.partition("=")[0] not in sizes.keys() - swept]
    return [command, *kept, *(f"{k}={v}" for k, v in sizes.items() if k not in swept)]


def shown(page):
    return pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in SLOW))


@pytest.mark.parametrize("page", [shown(page) for page in PAGES])
def test_what_a_page_shows_works(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.path_importer_cache.pop(".", None)  # it has the folder of the page before
    monkeypatch.setenv("COLUMNS", "100")
    names = {"__name__": page.stem}
    for language, text, runs in blocks(page):
        named = re.match(r"# (\w+\.(?:py|yaml))\n", text)
        if language == "sh":
            for words in commands(text):
                run(words) if runs else read(words)
        elif named:
            Path(named[1]).write_text(text)
        else:
            code = compile(text, f"{page.name}", "exec")
            if runs:
                exec(code, names)


def run(words):
    done = CliRunner().invoke(app, small(words))
    assert done.exit_code == 0, (words, done.output, done.exception)


def read(words):
    """Let a command's keys be checked, its options be known."""
    known = typer.main.get_command(app).commands[words[0]]
    flags = {flag for each in known.params for flag in each.opts}
    assert {word for word in words if word.startswith("-")} <= flags, words
    if words[0] == "run":
        keys = [w for w in words[1:] if "=" in w and not w.startswith("resume=")]
        compose(sweep(keys)[-1] if "-m" in words else keys)


def test_every_page_of_code_says_its_language():
    for page in PAGES:
        for info in re.findall(r"^```(.*)$", page.read_text(), re.M)[::2]:
            assert info in ("python", "sh", "yaml", "text", "bibtex", "toml"), (page.name, info)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 220


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
