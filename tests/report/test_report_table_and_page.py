import io
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from fedkd.errors import ConfigError
from fedkd.report import Run, group_runs, load_runs, overview, render
from fedkd.report.drawing import figures
from fedkd.report.footnotes import meaning, subsets, warnings
from fedkd.report.table import columns, rows


def table(*paths):
    return [[cell.text for cell in row] for row in rows(group_runs(load_runs(list(paths))))]


@pytest.fixture
def sweep(make_run):
    lasts = {"fedmd": (0.60, 0.50), "knfu": (0.90, 0.40)}
    for strategy, (own, every) in lasts.items():
        for seed, shift in enumerate((0.0, 0.02, 0.07)):
            curve = {"local": (0.99, own + shift), "overall": (0.1, every + shift)}
            make_run(f"{strategy}-{seed}", strategy=strategy, seed=seed, **curve)
    return make_run.root


def test_numbers_over_seeds_by_hand(sweep):
    runs = load_runs(sorted(sweep.iterdir()))
    fedmd, knfu = rows(group_runs(runs))
    # mean of 60, 62, 67 is 63; sample std sqrt((9 + 1 + 16) / 2) = 3.606
    assert [cell.text for cell in fedmd] == [
        "fedmd", "3", "63.0 ± 3.6", "53.0 ± 3.6", "1.0 MB", "1.0 MB", "4.5"
    ]  # fmt: skip
    assert knfu[2].text == "93.0 ± 3.6"
    assert [cell.best for cell in knfu] == [False, False, True, False, False, False, False]
    assert [cell.best for cell in fedmd][3]
    assert (fedmd[2].note, knfu[3].note) == ("99.0", "43.0")


def test_one_seed_shows_the_spread_over_clients(make_run):
    assert table(make_run("a"))[0][:3] == ["knfu", "80.0 ± 10.0", "40.0 ± 5.0"]


def test_the_worst_and_calibration_have_columns_where_there_is_room(make_run):
    path = make_run("a")
    [cells] = rows(group_runs(load_runs([path])), wide=True)
    assert len(cells) == 6  # a run of an earlier version does not know them
    summary = json.loads((path / "summary.json").read_text())
    added = {"worst_decile": {"local": 0.4, "global": 0.125}, "ece": 0.25}
    (path / "summary.json").write_text(json.dumps(summary | added))
    groups = group_runs(load_runs([path]))
    [cells] = rows(groups, wide=True)
    assert [cell.text for cell in cells][3:5] == ["40.0 / 12.5", "0.250"]
    assert columns(groups, wide=True)[3:5] == ["worst %", "ECE"]
    assert "worst %" not in columns(groups)
    page = render(path).read_text()
    assert "Worst tenth" in page
    assert "local; 12.5 global; calibration error 0.250" in page
    assert (
        "40.0 / 12.5"
        in render([path, make_run("b", strategy="other")], path / "two.html").read_text()
    )
    console = Console(width=80, record=True, file=io.StringIO())
    overview(path, console)
    assert "worst %" in console.export_text()  # it is no terminal


def test_what_looks_equal_ties(make_run):
    paths = [make_run("a", local=(0.5, 0.8001)), make_run("b", strategy="x")]
    assert [row[2].best for row in rows(group_runs(load_runs(paths)))] == [True, True]


def test_differing_settings_get_columns(make_run):
    paths = [make_run(f"r{b}", parameters={"beta": b}) for b in (1, 5)]
    assert [row[:2] for row in table(*paths)] == [["knfu", "1"], ["knfu", "5"]]


def test_unfinished_and_never_evaluated_runs_are_marked(make_run):
    path = make_run("a", local=(None,), overall=(None,), finished=False, accuracies=[0.5] * 20)
    assert table(path)[0][:3] == ["knfu*", "-", "-"]
    assert "unfinished, 1 of 1 rounds" in warnings(group_runs(load_runs([path])))[0]
    assert render(path).is_file()


def test_compare_prints_and_writes(sweep):
    console = Console(width=120, record=True, file=io.StringIO())
    path = overview(sweep, console)
    text = console.export_text()
    assert path == sweep / "report.html"
    assert "93.0 ± 3.6  99.0" in text
    assert "std over seeds" in text
    assert text.index("fedmd") < text.index("knfu")


def test_where_the_report_goes(make_run, tmp_path):
    run = make_run("a")
    assert render(run) == run / "report.html"
    assert render(run, tmp_path / "new" / "x.html").is_file()
    with pytest.raises(ConfigError, match="cannot be written"):
        render(run, run)


def test_the_page_needs_no_other_file(sweep):
    page = render(load_runs(sorted(sweep.glob("*-*")))).read_text()
    assert "<script" not in page
    for match in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert match.startswith(("data:", "#")), match
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert page.count("<figure") == 11
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    for section in ("Comparison", "Learning curves", "Who learned from whom", "Costs"):
        assert f"<h2>{section}</h2>" in page


def test_everything_is_escaped(make_run):
    evil = "<script>alert('$x$')</script>"
    paths = [make_run(f"r{s}", strategy=f"{evil}{s}") for s in range(2)]
    for runs in (paths, paths[:1]):
        page = render(runs).read_text()
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_rendering_is_deterministic(make_run):
    path = make_run("a")
    assert render(path).read_bytes() == render(path).read_bytes()


def test_a_run_without_extras_still_renders(make_run):
    path = make_run("a", weights=False)
    for name in ("split.npz", "clients.parquet"):
        (path / name).unlink()
    page = render(path).read_text()
    assert "Who learned from whom" not in page


@pytest.mark.parametrize("name", [name for name in figures.__all__ if name != "partition_figure"])
def test_figures_take_a_run(make_run, name):
    run = Run.load(make_run("a"))
    assert isinstance(getattr(figures, name)(run), Figure)


def test_figures_leave_no_trace_in_matplotlib(make_run):
    import matplotlib as mpl
    from matplotlib import _pylab_helpers

    before = dict(mpl.rcParams)
    figures.learning_curves(Run.load(make_run("a")))
    assert dict(mpl.rcParams) == before
    assert not _pylab_helpers.Gcf.figs


def test_partition_shows_every_sample():
    histogram = np.array([[3, 0, 1], [0, 2, 2]])
    figure = figures.partition_figure(histogram, ["cat", "dog", "eel"])
    tops = [patch.get_data().values[[0, 2]] for patch in figure.axes[0].patches]
    np.testing.assert_allclose(tops, histogram.cumsum(axis=1).T)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog", "eel"]
    figures.partition_figure(np.ones((100, 100)))


def test_partition_maps_each_clients_numbers():
    numbers = {"price": [np.array([0.0, 0.0, 30.0]), np.array([30.0])]}
    figure = figures.partition_figure(np.ones((2, 2)), values=numbers)
    _, panel, _ = figure.axes
    percent = panel.collections[0].get_array().reshape(-1, 2)
    assert panel.get_ylabel() == "price"
    np.testing.assert_allclose(percent.sum(axis=0), 100)
    np.testing.assert_allclose(percent[[0, -1]], [[200 / 3, 0], [100 / 3, 100]])


def test_clients_are_ordered_by_their_main_class(make_run):
    from fedkd.report.drawing.maps import class_order

    histogram = np.array([[0, 9], [9, 0], [1, 2], [5, 0]])
    order, dominant = class_order(np.array([0, 1, 3]), histogram)
    assert dominant.tolist() == [1, 0, 0]
    assert order.tolist() == [1, 2, 0]


@pytest.mark.parametrize("name", ["weights_figure", "neighbours_figure"])
def test_no_weights_is_said(make_run, name):
    run = Run.load(make_run("a", strategy="local", weights=False))
    with pytest.raises(ConfigError, match=r"strategy=local: the run has no"):
        getattr(figures, name)(run)


def with_subset(path):
    """Have all rounds but the last be measured on 2,000 of 10,000 samples."""
    rounds = pq.read_table(path / "rounds.parquet")
    last = rounds.num_rows - 1
    rounds = rounds.append_column("evaluated", [[2_000] * last + [10_000]])
    for name in ("local", "global"):
        rounds = rounds.append_column(f"alma_{name}_se", [[0.02] * last + [None]])
    pq.write_table(rounds, path / "rounds.parquet")
    (path / "summary.json").unlink()
    return path


def test_points_from_a_subset_are_hollow_and_said(make_run, tmp_path):
    run = Run.load(with_subset(make_run("run", local=(0.5, 0.9, 0.8), overall=(0.3, 0.3, 0.4))))
    assert run.summary["evaluated"] == {
        "last": 10_000, "best_local": 2_000, "best_global": 10_000
    }  # fmt: skip
    figure = figures.learning_curves(run)
    for panel in figure.axes:
        hollow = [line for line in panel.lines if line.get_gid() == "subset"]
        assert [line.get_xdata().tolist() for line in hollow] == [[1, 2]]
        assert panel.lines[0].get_markevery() == [2]
    [bars] = figure.axes[0].collections[:1]
    assert np.diff(bars.get_segments()[0][:, 1]).item() == pytest.approx(4)
    page = render(run, tmp_path / "report.html").read_text()
    assert "Hollow: estimated on fewer test samples" in page
    assert "best round 90.0 on 2,000 samples" in page
    assert "Rounds before the last were measured on 2,000 samples" in page
    note = next(line for line in meaning(group_runs([run])) if "2,000" in line)
    assert note == subsets(group_runs([run]))[0]


def test_nothing_is_said_of_subsets_where_there_are_none(make_run, tmp_path):
    run = Run.load(make_run("run"))
    assert subsets(group_runs([run])) == []
    assert "Hollow" not in render(run, tmp_path / "report.html").read_text()
