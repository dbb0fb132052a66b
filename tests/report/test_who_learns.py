"""Graphs of mixing weights, their maps over rounds, and estimates of labels: numbers by hand."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedkd.report import Run, group_runs
from fedkd.report.drawing import estimated, evolution, network

FEW = {"clients": 4, "accuracies": [0.5] * 4, "task": {"name": "classification"}}


def put_weights(path, rounds):
    """Replace a run's mixing weights: round -> (clients, rows)."""
    arrays = {}
    for number, (clients, rows) in rounds.items():
        arrays[f"clients_{number:04d}"] = np.array(clients, np.int32)
        arrays[f"round_{number:04d}"] = np.array(rows, np.float32)
    np.savez(path / "weights.npz", **arrays)


def put_labels(path, histogram):
    np.savez(path / "split.npz", histogram=np.array(histogram))


def put_estimates(path, *rows):
    """Add rows (round, client, shares) to a run's table of clients."""
    table = pq.read_table(path / "clients.parquet")
    more = [
        {"round": number, "client": client, "metric": f"epd_{label}", "value": share}
        for number, client, shares in rows
        for label, share in enumerate(shares)
    ]
    plain = table.set_column(2, "metric", table["metric"].cast(pa.string()))
    joined = pa.concat_tables([plain, pa.Table.from_pylist(more, schema=plain.schema)])
    pq.write_table(joined, path / "clients.parquet")


def test_edges_are_the_largest_weights_above_an_equal_share():
    equal = np.full((4, 4), 0.25)
    assert network.strongest(equal) == ([], 0.25)
    rng = np.random.default_rng(0)
    many = rng.dirichlet([0.05] * 80, 80)
    edges, threshold = network.strongest(many)
    assert len(edges) <= 80 < (many > 1 / 80).sum()  # one a client is all that can be read
    assert all(weight > threshold for *_, weight in edges)
    source, learner, weight = edges[0]
    assert weight == many[learner, source] == np.where(np.eye(80), 0, many).max()


def test_alike_clients_are_near_and_do_not_coincide():
    shares = np.eye(3)[[0, 0, 1, 1, 2]]
    places = network.positions(shares)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert apart[np.triu_indices(5, 1)].min() > 0.05
    assert max(apart[0, 1], apart[2, 3]) < min(apart[0, 2], apart[0, 4], apart[2, 4])
    assert ((places >= -1e-9) & (places <= 1 + 1e-9)).all()
    same = network.positions(np.tile([0.5, 0.5], (100, 1)))
    assert len(np.unique(same.round(4), axis=0)) == 100
    assert np.isfinite(network.positions(np.ones((3, 1)))).all()


def test_a_graph_in_words(make_run):
    path = make_run("a", **FEW)
    put_labels(path, [[9, 0], [8, 1], [0, 7], [0, 0]])
    rows = [[0.1, 0.9, 0], [0.2, 0.6, 0.2], [0.4, 0, 0.6]]
    put_weights(path, {1: ([0, 1, 2], rows)})
    [drawn] = network.drawn(group_runs([Run.load(path)]))
    assert drawn.told == (
        "3 clients, 2 weights above 0.333, 1 of them between clients of one colour. The largest: "
        "client 0 learns from client 1 with 0.90."
    )
    assert len(drawn.figure.axes[0].patches) == 2


@pytest.mark.parametrize(
    ("clients", "rows"),
    [([0, 1], [[0.5, 0.5], [0, 1]]), ([0, 1, 2], [[0.2, 0.3, 0.5]] * 3)],
    ids=["two clients", "one teacher for all"],
)
def test_no_graph_where_there_is_nothing_to_see(make_run, clients, rows):
    path = make_run("a", **FEW)
    put_weights(path, {1: (clients, rows)})
    assert network.network(Run.load(path)) is None


def test_without_weights_or_labels_nothing_is_drawn(make_run):
    paths = make_run("a", weights=False, **FEW), make_run("b", **FEW)
    (paths[1] / "split.npz").unlink()
    for path in paths:
        groups = group_runs([Run.load(path)])
        assert not [*network.drawn(groups), *estimated.drawn(groups)]
    (paths[1] / "weights.npz").unlink()
    assert not list(evolution.drawn(group_runs([Run.load(paths[1])])))


def test_maps_of_first_middle_and_last_round(make_run):
    path = make_run("a", **FEW)
    put_labels(path, [[0, 9], [9, 0], [0, 9], [5, 0]])
    alone, mixed = np.eye(2), [[0.75, 0.25], [0.5, 0.5]]
    put_weights(
        path, {1: ([0, 2], alone), 2: ([1, 3], alone), 5: ([1, 2], alone), 9: ([0, 2], mixed)}
    )
    found = evolution.evolution(Run.load(path))
    assert found.rounds == [1, 5, 9]
    assert (found.clients.tolist(), found.classes.tolist()) == ([1, 0, 2], [0, 1, 1])
    nan = math.nan
    np.testing.assert_allclose(found.maps[2], [[nan] * 3, [nan, 0.75, 0.25], [nan, 0.5, 0.5]])
    assert found.own() == [1.0, 1.0, 0.625]
    assert found.changed() == pytest.approx((0.25 + 0.5) / 2)
    [drawn] = evolution.drawn(group_runs([Run.load(path)]))
    assert "Hatched: not in this round" in drawn.caption
    assert "1.00 in round 1, 1.00 in round 5, 0.62 in round 9" in drawn.told


def test_one_round_is_no_evolution_and_two_have_two_maps(make_run):
    path = make_run("a", **FEW)
    put_weights(path, {3: ([0, 1], np.eye(2))})
    assert evolution.evolution(Run.load(path)) is None
    put_weights(path, {3: ([0], [[1.0]]), 4: ([1], [[1.0]])})
    found = evolution.evolution(Run.load(path))
    assert (found.rounds, math.isnan(found.changed())) == ([3, 4], True)
    assert len(evolution.evolution_figure(found).axes) == 3


def test_estimates_against_labels(make_run):
    path = make_run("a", weights=False, **FEW)
    put_labels(path, [[6, 2], [0, 4], [0, 0], [1, 1]])
    old, new = (1, 0, [1, 0]), (2, 0, [0.5, 0.5])
    put_estimates(path, old, new, (1, 1, [0.5, 0.5]), (1, 2, [1, 0]))  # client 2 has no sample
    found = estimated.estimated(Run.load(path))
    assert found.clients.tolist() == [0, 1]
    assert found.true.tolist() == [[0.75, 0.25], [0, 1]]
    assert found.distance.tolist() == [0.25, 0.5]
    assert found.prior == pytest.approx((0.25 + 0.5) / 2)  # half of all samples are of each class
    [drawn] = estimated.drawn(group_runs([Run.load(path)]))
    assert "mean 0.38, from 0.25 (client 0) to 0.50 (client 1); 0.38 if" in drawn.told
    assert drawn.told.endswith("The main class is right for 1 of 2.")


def test_estimates_over_other_things_than_classes_are_not_drawn(make_run):
    path = make_run("a", weights=False, **FEW)
    put_labels(path, [[6, 2], [0, 4], [0, 0], [1, 1]])
    put_estimates(path, (1, 0, [0.2, 0.3, 0.5]))
    assert estimated.estimated(Run.load(path)) is None
    run = Run.load(make_run("b", weights=False, **FEW))
    run.summary["task"] = "regression"
    assert estimated.estimated(run) is None
