"""Claims: their pages are what the rows say, the gallery what the pages say; citations hold."""

import csv
import re
import statistics
from itertools import chain, product
from pathlib import Path

import pytest
import typer
from fedkd.experiments.reproduce import (
    cited,
    collaboration_gains,
    gallery,
    knfu_phase,
    knfu_phase_page,
)
from fedkd.experiments.reproduce import collaboration_gains_page as gains_page
from fedkd.experiments.reproduce import knfu_phase_plan as plan
from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.knfu_phase_compared import Rows, choices
from fedkd.experiments.reproduce.knfu_phase_verdict import verdicts
from fedkd.strategies.knfu import KnFu
from typer.testing import CliRunner

from fedkd.config import RunConfig
from fedkd.config.overrides import compose
from fedkd.config.settings import flatten
from fedkd.errors import ConfigError
from fedkd.plugins import parameters

ROOT = Path(__file__).parents[1]
ROWS = ROOT / knfu_phase.ROWS
SITE = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def row(method, seed, value, samples=200, alpha=0.3, **more):
    cell = plan.cell("mnist", samples, alpha, method, plan.AS_IS, seed)
    each = " ".join([str(value)] * 2)
    numbers = {"local": value, "overall": value, "clients_local": each, "clients_overall": each}
    return cell | numbers | {"cpu_seconds": 1.0} | more


def every(seeds, **better):
    """All methods at 0.5, those named better; each seed a little more than the one before."""
    values = {name: better.get(name.replace(", ", "_"), 0.5) for name in plan.METHODS}
    return [row(n, s, round(v + s / 100, 3)) for n, v in values.items() for s in range(seeds)]


def test_pages_are_made_of_the_rows_that_are_kept():
    assert (ROOT / knfu_phase_page.PAGE).read_text() == knfu_phase_page.page(saved(ROWS))
    both = [saved(ROOT / module.ROWS) for module in (collaboration_gains, knfu_phase)]
    assert (ROOT / gains_page.PAGE).read_text() == gains_page.page(*both)
    assert (ROOT / "docs" / gallery.PAGE).read_text() == gallery.page(ROOT / "docs")


def test_the_map_has_the_means_of_the_rows_worked_out_another_way():
    with ROWS.open() as file:
        kept = [one for one in csv.DictReader(file) if one["change"] == plan.AS_IS]
    text, seen = (ROOT / knfu_phase_page.PAGE).read_text(), 0
    for place, column in (("local", "local"), ("global", "overall")):
        part = text.partition(f"**{place}**\n\n")[2].partition("\n\n")[0].splitlines()[2:]
        for line in part:
            size, *cells = (one.strip() for one in line.strip("|").split("|"))
            for alpha, said in zip(plan.ALPHAS, cells, strict=True):
                if said == "-":
                    continue
                name, number = re.match(r"(.+?) (\d+\.\d)(?: |$)", said).groups()
                here = [
                    (one["method"], one["seed"], 100 * float(one[column]))
                    for one in kept
                    if (one["data"], one["samples"]) == ("mnist", size)
                    and float(one["alpha"]) == alpha
                ]
                seeds = set.intersection(*({s for m, s, _ in here if m == o} for o in plan.METHODS))
                values = [value for method, seed, value in here if method == name and seed in seeds]
                assert float(number) == pytest.approx(statistics.fmean(values), abs=0.051)
                seen += 1
    assert seen


def test_who_wins_is_decided_by_paired_intervals_of_three_seeds():
    best = Rows(every(3, knfu=0.6), "mnist").winner("local", 200, 0.3)
    assert (best.name, best.decided, best.mean) == ("knfu", True, pytest.approx(61.0))
    assert not Rows(every(2, knfu=0.6), "mnist").winner("local", 200, 0.3).decided
    near = [row("local", seed, value) for seed, value in enumerate((0.61, 0.60, 0.63))]
    rows = [*(one for one in every(3, knfu=0.6) if one["method"] != "local"), *near]
    close = Rows(rows, "mnist").winner("local", 200, 0.3)
    assert (close.name, close.others) == ("local", ("knfu",))
    lacking = [one for one in rows if one["method"] != "fedmd"]
    assert Rows(lacking, "mnist").winner("local", 200, 0.3) is None


def test_gains_are_counted_client_by_client():
    rows = [row("local", 0, 0.5), row("fedmd", 0, 0.5, clients_local="0.6 0.4 0.5 0.7")]
    rows[0]["clients_local"] = "0.5 0.5 0.5 0.5"
    assert Rows(rows, "mnist").gaining("fedmd", "local", 200, 0.3) == [0.5]


def test_a_chosen_beta_is_compared_with_the_better_of_two():
    rows = Rows(every(3, local=0.6, fedmd=0.4, knfu_auto=0.58), "mnist")
    (one,) = choices(rows, "fedmd")
    assert (one.better, one.below) == ("local", True)
    assert one.differences == pytest.approx([-2.0] * 3)
    assert not choices(Rows(every(3, local=0.6, knfu_auto=0.595), "mnist"), "fedmd")[0].below


@pytest.mark.parametrize(
    ("better", "words"),
    [
        (
            {"knfu": 0.6, "knfu_logits": 0.4},
            ["not tried", "ordering reproduced", "ordering reproduced", "not reproduced"],
        ),
        ({}, ["not tried", *["undecided"] * 3]),
    ],
)
def test_verdicts_say_what_is_shown(better, words):
    rows = every(3, **better)
    mnist, none = Rows(rows, "mnist"), Rows(rows, "cifar10")
    said = verdicts(mnist, none)
    assert [re.search(r"\*\*(.+?)\*\*", one)[1] for one in said[:4]] == words
    assert said[-2] == "- Any of it on CIFAR-10: **not tried** (no run)."
    both = verdicts(mnist, Rows([row | {"data": "cifar10"} for row in rows], "cifar10"))
    assert [one.replace("CIFAR-10: ", "") for one in both[len(said) - 2 : -1]] == said[:-2]
    assert "at most 0.0 points" in said[-1] or better


def test_the_plan_is_whole_and_its_runs_are_configurations():
    cells = plan.wanted("mnist")
    assert len({str(cell) for cell in cells}) == len(cells)
    assert len(plan.grid("mnist", [0], plan.SIZES[:2])) < len(cells) / 10
    changes = {cell["change"].partition("=")[0] for cell in cells} - {plan.AS_IS}
    assert changes <= {*flatten(RunConfig()), *(f"strategy.{key}" for key in parameters(KnFu))}
    config = compose(plan.overrides(plan.cell("cifar10", 50, 10.0, plan.AUTO, "fraction=0.3", 7)))
    found = config.data.name, config.data.samples_per_client, config.data.alpha, config.seed
    assert (*found, config.fraction) == ("cifar10", 50, 10.0, 7, 0.3)
    assert config.strategy["beta"] == "auto"
    pieces = [knfu_phase.piece(cells, f"{n}/3") for n in (1, 2, 3)]
    assert sorted(map(str, chain(*pieces))) == sorted(map(str, cells))
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(ConfigError, match="--part"):
            knfu_phase.piece(cells, wrong)


def test_feddf_is_compared_with_fedavg_seed_by_seed():
    scores = {"fedavg": (0.5, 0.7, 0.9), "feddf": (0.52, 0.721, 0.922)}
    rows = [
        {
            "alpha": 1.0,
            "method": method,
            "change": "-",
            "seed": seed,
            "overall": value,
            "cpu_seconds": 1.0,
        }
        for method, every in scores.items()
        for seed, value in enumerate(every)
    ]
    assert gains_page.gains(rows, 1.0) == pytest.approx([2.0, 2.1, 2.2])
    line = next(one for one in gains_page.page(rows, []).splitlines() if "FedDF's model" in one)
    assert "**ordering reproduced** (better in 1 cell of 1" in line


def test_what_is_left_is_foreseen_by_what_is_done():
    done = [row("local", seed, 0.5, cpu_seconds=3.0) for seed in (0, 1)]
    cells = [plan.cell("mnist", n, 0.3, "local", plan.AS_IS, 1) for n in (50, 200)]
    assert knfu_phase.foreseen(cells, done)[0] == "mnist, local: 1 runs, 3 s of CPU"


def test_a_page_is_not_made_of_a_file_that_is_not_there(tmp_path):
    app = typer.Typer()
    app.command()(knfu_phase_page.command)
    out = tmp_path / "page.md"
    done = CliRunner().invoke(app, ["--rows", str(tmp_path / "none.csv"), "--out", str(out)])
    assert done.exit_code == 2
    assert not out.exists()


def test_what_no_row_tells_is_not_foreseen():
    cell = plan.cell("mnist", 200, 0.3, "fedmd", plan.AS_IS, 0)
    assert knfu_phase.foreseen([cell], [])[-1] == "1 runs left, not known how long"
    lines = knfu_phase.foreseen([{**cell, "seed": 1}], [row("fedmd", 0, 0.5)])
    assert lines == ["mnist, fedmd: 1 runs, 1 s of CPU", "1 runs left, 0.0 hours of CPU"]


def test_what_pages_cite_is_what_the_rows_say():
    found = {path.name: cited.wrong(path.read_text(), ROOT / "docs" / "rows") for path in SITE}
    assert not {name: wrong for name, wrong in found.items() if wrong}
    assert sum(len(cited.citations(path.read_text())) for path in SITE) >= 4


def test_a_citation_that_no_longer_holds_is_found(tmp_path):
    (tmp_path / "a.csv").write_text('"m","seed","local"\n"x",0,0.5\n"x",1,0.7\n"y",0,0.1\n')
    page = "{}<!-- cited: a.csv m=x local -->"
    assert cited.wrong(page.format("60.0 ± 14.1"), tmp_path) == []
    assert cited.wrong(page.format("60"), tmp_path) == []
    assert cited.wrong(page.format("60.1"), tmp_path) == ["60.1, and a.csv says 60.0"]
    assert cited.wrong("1<!-- cited: a.csv m=z local -->", tmp_path)[0].endswith("says nothing")
    for cell in ("m=x other", "local=half local"):
        page = f"1<!-- cited: a.csv {cell} -->"
        assert cited.wrong(page, tmp_path) == ["1, and a.csv says nothing"]
    for bad in (
        "x<!-- cited: a.csv m=x local -->",
        "1<!-- cited: a.csv m=x -->",
        "1<!--cited: a.csv m=x local -->",
        "1<!-- Cites: a.csv m=x local -->",
    ):
        with pytest.raises(ValueError, match=r"cit|column"):
            cited.wrong(bad, tmp_path)


def test_any_page_that_tells_a_claim_is_in_the_gallery(tmp_path):
    page = (
        "# T\n\n**Claim.** C.\n\n**Source.** S. **Confidence.** sure.\n\n- a: **not tried** (b).\n"
    )
    (tmp_path / "t.md").write_text(page)
    (tmp_path / "other.md").write_text("# Not one\n")
    (one,) = gallery.shown(tmp_path)
    assert (one.title, one.claimed, one.verdicts) == ("T", "C.", (("a", "not tried"),))
    text = gallery.page(tmp_path)
    assert "| [T](t.md) |  |  |  |  | 1 | 0 | 0 |" in text
    assert "## T\n\nC. *S; sure.*\n\n- **not tried**\n    - a\n" in text


def test_the_page_says_what_smaller_steps_make_of_it():
    rows = every(3, knfu_logits=0.6, fedmd=0.5)
    assert "How far clients step" not in knfu_phase_page.page(rows)
    for row, step in product(every(3, knfu_logits=0.5, fedmd=0.5), plan.STEPS):
        rows.append(row | {"change": step, "samples": 200, "alpha": 0.3})
    text = knfu_phase_page.page(rows)
    assert "| logits | 0.01 | - / - | - / - | +0.0 ± 0.0 / +0.0 ± 0.0 | - / - |" in text
    assert "(`distil.lr=0.01`), logits, local: **undecided**" in text
