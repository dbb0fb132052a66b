"""What figures show is read right: scales, order, curves that coincide, words in numbers."""

import json
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from fedkd.report import Run, group_runs, load_runs
from fedkd.report.drawing import figures
from fedkd.report.drawing.order import seriated
from fedkd.report.drawing.style import apart, canvas, legend_below
from fedkd.report.drawing.told import told
from fedkd.report.drawing.tracing import marked, pen
from fedkd.report.lost import HEADINGS, lost


def with_weights(run, weights):
    count = len(weights)
    np.savez(run / "weights.npz", round_0001=weights, clients_0001=np.arange(count))
    return Run.load(run)


def test_tiny_weights_do_not_look_large(make_run):
    weights = np.full((4, 4), 4e-9)
    np.fill_diagonal(weights, 1 - 1.2e-8)
    run = with_weights(make_run("a", clients=4, local=(0.5,), overall=(0.5,)), weights)
    image = figures.weights_figure(run).axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    assert image.norm(4e-9) < 0.01
    texts = [text.get_text() for text in figures.weights_figure(run).axes[0].texts]
    assert texts.count("~0") == 12
    assert texts.count("~1") == 4
    assert "at most 4e-09; 0 of 12 are above 0.01" in told(figures.weights_figure(run))


def test_small_weights_are_told_apart_on_request(make_run):
    weights = np.array([[0.9, 0.09, 0.01], [0.009, 0.99, 0.001], [0.0, 0.0, 1.0]])
    run = with_weights(make_run("a", clients=3, local=(0.5,), overall=(0.5,)), weights)
    figure = figures.weights_figure(run, log=True)
    image = figure.axes[0].images[0]
    assert isinstance(image.norm, mpl.colors.LogNorm)
    assert image.norm([1e-4, 1e-2, 1]).tolist() == pytest.approx([0, 0.5, 1])
    assert image.get_array().min() == 1e-4  # zero has no logarithm
    assert told(figure) == told(figures.weights_figure(run))  # the words have the weights


def test_many_cells_have_no_numbers(make_run):
    assert not figures.weights_figure(Run.load(make_run("a"))).axes[0].texts


def test_local_and_global_have_one_range(make_run):
    runs = [
        make_run("a", local=(0.8, 0.9), overall=(0.2, 0.3)),
        make_run("b", strategy="x", local=(0.7, 0.75), overall=(0.5, 0.6)),
    ]
    limits = {
        name: figures.learning_curves(load_runs(runs), [name]).axes[0].get_ylim()
        for name in ("local", "global")
    }
    assert limits["local"] == limits["global"]
    low, high = limits["local"]
    assert low < 100 * (0.2 - 0.05)  # with its band
    assert 100 <= high <= 101
    assert low > 0


def test_a_run_that_was_never_measured_has_empty_curves(make_run):
    run = make_run("a", local=(None,), overall=(None,), finished=False, accuracies=[0.5] * 20)
    assert not figures.learning_curves(Run.load(run)).axes[0].lines


def test_equal_curves_are_all_to_be_seen(make_run):
    runs = load_runs([make_run(name, strategy=name, local=(0.5, 0.6)) for name in "abcde"])
    panel = figures.learning_curves(runs).axes[0]
    curves = [line for line in panel.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in curves] == [*"abcde"]
    widths = [line.get_linewidth() for line in curves]
    sizes = [line.get_markersize() for line in curves]
    assert widths == sorted(set(widths), reverse=True)
    assert sizes == sorted(set(sizes), reverse=True)
    assert len({line.get_marker() for line in curves}) == 5
    for first, other in pairwise(curves):
        assert first.get_color() != other.get_color()
    dashes = [pen(index, 5)["linestyle"] for index in range(5)]
    assert all(first != other for first, other in pairwise(dashes))
    bars = [line for line in panel.lines if line.get_label() == "_nolegend_"]
    places = {bar.get_xdata()[0] for bar in bars}
    assert len(places) == 5  # each std beside the others, none on another
    assert min(places) > 2


def test_markers_of_long_curves_take_turns():
    first, other = marked(range(300), 0, 2), marked(range(300), 1, 2)
    assert len(first) == len(other) == 12
    assert not {*first} & {*other}
    assert pen(0, 1)["linewidth"] == 1.4


def test_alike_clients_are_side_by_side():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(5) * 90 + 2, 20, axis=0)
    shuffled = rng.permutation(100)
    order = seriated((kinds + rng.integers(0, 3, kinds.shape))[shuffled])
    assert sorted(order) == list(range(100))
    found = shuffled[order] // 20
    assert np.count_nonzero(np.diff(found)) == 4  # each kind is one stretch
    assert found[0] < found[-1]


@pytest.mark.parametrize("histogram", [np.zeros((3, 2)), np.ones((1, 4)), np.ones((50, 1))])
def test_order_of_clients_without_differences_is_theirs(histogram):
    assert seriated(histogram).tolist() == list(range(len(histogram)))


def test_many_clients_are_a_map_in_percent():
    histogram = np.zeros((60, 3))
    histogram[np.arange(60), np.arange(60) % 3] = 10 + np.arange(60)
    figure = figures.partition_figure(histogram, ["cat", "dog", "eel"])
    sizes, shares, _ = figure.axes
    shown = shares.images[0].get_array()
    assert shown.shape == (3, 60)
    np.testing.assert_allclose(shown.sum(axis=0), 100)
    assert (np.diff(shown.argmax(axis=0)) != 0).sum() == 2
    assert [text.get_text() for text in shares.get_yticklabels()] == ["cat", "dog", "eel"]
    assert sizes.patches[0].get_data().values.sum() == histogram.sum()
    assert "2,370 samples of 3 classes (or bins) at 60 clients: 10 to 69 a client" in told(figure)


def test_names_stay_with_their_clients():
    figure = figures.partition_figure(
        np.array([[0, 9], [9, 0], [1, 8]]), client_names=["x", "y", "z"]
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["y", "z", "x"]
    assert axes.patches[0].get_data().values[::2].tolist() == [9, 1, 0]


@pytest.mark.parametrize("name", [name for name in figures.__all__ if name != "partition_figure"])
@pytest.mark.parametrize("several", [False, True])
def test_every_figure_says_what_it_shows_in_numbers(make_run, name, several):
    runs = [Run.load(make_run(f"{n}", strategy=n)) for n in ("knfu", "x")[: 1 + several]]
    figure = getattr(figures, name)(runs[0] if name == "weights_figure" else runs)
    words = told(figure)
    if name == "virtual_figure":  # these runs have no virtual clock: there is nothing to tell
        assert words == ""
        return
    assert any(character.isdigit() for character in words)
    assert words.endswith(".")


def test_bars_are_told_by_name():
    figure = Figure()
    axes = figure.subplots()
    axes.barh([0, 1], [2.5, 1], label="fit")
    axes.set_yticks([0, 1], ["knfu", "fedmd"])
    axes.set_xlabel("seconds")
    assert told(figure) == "seconds: fit 2.5 (knfu), 1 (fedmd)."


def test_who_diverged_or_was_rejected_is_named(make_run, mark):
    well, ill = make_run("well"), make_run("ill", strategy="x", seed=3)
    mark(ill, [(1, 2, "diverged"), (2, 2, "diverged"), (1, 9, "diverged"), (1, 4, "rejected"),
               (2, 4, "rejected"), (2, 11, "rejected")])  # fmt: skip
    assert lost(group_runs(load_runs([well]))) == []
    assert len(HEADINGS) == 5
    assert lost(group_runs(load_runs([well, ill]))) == [
        ["x", "3", "1 of 20 diverged", "2", "2 from 1 to 2"],  # client 9 has recovered
        ["x", "3", "2 of 20 with replies rejected", "4 (2 times), 11", "2 from 1 to 2"],
    ]
    assert json.loads((ill / "summary.json").read_text())["clients"] == 20


def test_a_long_legend_takes_nothing_from_the_axes():
    def height(count):
        figure, (axes,) = canvas(4.8, 3.4)
        for place in range(count):
            axes.plot([1, 2], [0, place], label=f"{place} a strategy with a name " + "n" * 80)
        legend_below(figure, axes)
        figure.draw_without_rendering()
        legend = figure.legends[0].get_window_extent()
        assert legend.width <= figure.bbox.width
        assert legend.y1 <= axes.get_tightbbox().y0
        return axes.get_window_extent().height

    assert height(27) > 0.9 * height(2)


def test_names_that_begin_and_end_alike_are_told_apart():
    names = [f"fedmd, data.samples_per_client={size}, data.partitioner=auto" for size in (5, 50)]
    cut = apart([*names, "knfu"])
    assert cut[2] == "knfu"
    assert cut[0] != cut[1]
    assert max(map(len, cut)) < len(names[0])
