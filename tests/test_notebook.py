"""What a notebook shows: results and figures, on light and dark pages."""

import ast
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import TINY

import fedkd
from fedkd.callbacks import CellProgress, Progress
from fedkd.callbacks.cell import CellLine, in_notebook, shown
from fedkd.errors import ConfigError
from fedkd.report.brief import run_card
from fedkd.report.notebook import link
from fedkd.run.result import RunResult

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """Reads the texts of some HTML; fails where a tag is not closed, or asks for something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        assert tag not in ("script", "img", "link", "style")
        assert not re.search(r"color|background", str(attributes)), attributes
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


@pytest.fixture(scope="module")
def knfu(cache: Path) -> RunResult:
    return fedkd.simulate("knfu", **TINY)


def test_a_run_is_shown_in_a_line_and_as_a_table(knfu: RunResult) -> None:
    local = f"{100 * knfu.summary['alma_local']['last']:.1f}"
    assert repr(knfu).startswith(
        f"<RunResult knfu on digits: 5 clients, 2 rounds, ALMA local {local}"
    )
    assert len(repr(knfu)) < 200
    text = Page(knfu._repr_html_()).text
    for part in (f"{local} ± ", "digest", knfu.summary["digest"][:16], "fedkd report", "temporary"):
        assert part in text


def test_a_result_is_shown_when_its_directory_has_gone(tmp_path: Path) -> None:
    settings = TINY | {"task": "regression", "rounds": 1, "run_dir": str(tmp_path / "run")}
    result = fedkd.simulate("local", **settings)
    shutil.rmtree(tmp_path / "run")
    assert "RMSE local" in repr(result)
    assert "RMSE global" in Page(result._repr_html_()).text
    assert "%" not in repr(result)


def test_what_people_have_named_is_escaped(knfu: RunResult) -> None:
    odd = knfu.summary | {"strategy": "<script>", "diverged": 2, "rejected": 1}
    odd |= {"score_local": {"last": None, "best": None, "std": None}}
    text = Page(run_card(Path("<i>"), odd, knfu.score, False)).text
    assert "<script> on digits" in text
    assert "not evaluated" in text
    assert "diverged: 2 of 5 clients" in text


def test_paths_below_the_current_folder_are_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert 'href="a%20b/report.html"' in link(tmp_path / "a b" / "report.html")
    assert "href" not in link(tmp_path.parent / "report.html")


def test_figures_show_themselves(knfu: RunResult) -> None:
    for figure in (knfu.plot_curves(), knfu.plot_weights(), knfu.plot_partition()):
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


# -- progress ------------------------------------------------------------------------------------


class Kernel:
    """A notebook's: keeps what was shown, in place of what was shown under the same handle."""

    def __init__(self) -> None:
        self.cells: list[list[tuple[str, str]]] = []

    def display(self, shown: Any, display_id: bool) -> Any:
        self.cells.append([])
        handle, cell = ModuleType("handle"), self.cells[-1]
        handle.update = lambda one: cell.append((repr(one), one._repr_html_()))  # type: ignore[attr-defined]
        handle.update(shown)
        return handle


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Have this process look like a notebook's kernel."""

    class ZMQInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):
        pass

    made, package, display = Kernel(), ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = Shell  # type: ignore[attr-defined]
    display.display = made.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return made


def test_progress_in_a_notebook_is_one_line(
    kernel: Kernel, capfd: pytest.CaptureFixture[str]
) -> None:
    fedkd.simulate("local", **TINY)
    assert len(kernel.cells) == 1
    text, html = kernel.cells[0][-1]
    assert re.fullmatch(r"2 rounds in \S+ s  ALMA local 0\.\d+  global 0\.\d+(\n.+)*", text)
    assert Page(html).text.split() == text.split()
    assert capfd.readouterr() == ("", "")


def test_progress_can_be_had_and_had_not(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fedkd.simulate("local", progress=False, **TINY)
    assert kernel.cells == []
    assert type(shown([], None)[0]) is CellProgress
    assert shown([own := Progress()], None) == [own]
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
    assert shown([], None) == []
    assert type(shown([], True)[0]) is Progress


def test_progress_says_how_a_run_ended(kernel: Kernel) -> None:
    for error, word in ((KeyboardInterrupt(), "interrupted"), (ValueError(), "failed")):
        CellProgress().on_run_end(None, error)
        assert kernel.cells[-1][-1][0].startswith(f"{word} after 0 rounds")


def test_a_cell_has_no_flood_of_notes(kernel: Kernel) -> None:
    line = CellLine("run 1 of 2")
    line.update(description="round 1/2  fit", completed=1, total=4)
    for number in range(20):
        line.note(f"<b> {number}")
    assert len(kernel.cells) == 1
    assert repr(line).splitlines()[0] == "run 1 of 2  round 1/2  fit  1/4"
    assert repr(line).splitlines()[-1] == "and 12 more lines"
    assert "<b> 7" in Page(line._repr_html_()).text


def test_a_mistake_is_one_line_in_a_notebook() -> None:
    with pytest.raises(ConfigError) as mistake:
        fedkd.simulate(clients=0)
    mistake.value.add_note("more")
    lines = ["ConfigError: clients=0: must be auto or at least 1", "more"]
    assert mistake.value._render_traceback_() == lines


# -- the tutorial --------------------------------------------------------------------------------


def test_the_tutorial_runs_and_each_of_its_cells_shows_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells, in one namespace: a kernel would take longer to start than they take."""
    notebook = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedkd.report.render", lambda runs, out=None: out)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            continue
        assert (cell["outputs"], cell["execution_count"]) == ([], None)  # is kept without them
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "tutorial", "exec"), names)
        if "small" in names:
            names["small"] |= {"clients": 3, "rounds": 1}
        if last is not None:
            found = eval(compile(ast.Expression(last.value), "tutorial", "eval"), names)
            show = getattr(found, "_repr_png_", None) or found._repr_html_
            assert show()
