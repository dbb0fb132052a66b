"""Who was dropped in a run, when and why: from its tables and its log."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedkd.report import Run
from fedkd.report.drawing.dropped import (
    HEADINGS,
    NAMED,
    ROWS,
    Event,
    drawn,
    events,
    rounds_skipped,
    table,
)
from fedkd.report.page import html
from fedkd.rundir.rejections import LINE


@pytest.fixture
def lossy(make_run):
    """Return a function that makes a run of these (round, client, metric), and its log."""

    def made(*rows, log=(), skipped=(), **config):
        many = {"clients": 6, "weights": False, "local": (0.5,) * 3, "overall": (0.5,) * 3}
        path = make_run("a", **many | config)
        clients = pq.read_table(path / "clients.parquet")
        plain = clients.set_column(2, "metric", clients["metric"].cast(pa.string()))
        keys = ("round", "client", "metric", "value")
        more = [dict(zip(keys, (*row, 1.0), strict=True)) for row in rows]
        joined = pa.concat_tables([plain, pa.Table.from_pylist(more, schema=plain.schema)])
        pq.write_table(joined, path / "clients.parquet")
        rounds = pq.read_table(path / "rounds.parquet")
        flags = [int(number in skipped) for number in rounds["round"].to_pylist()]
        pq.write_table(rounds.append_column("skipped", [flags]), path / "rounds.parquet")
        (path / "log.txt").write_text("".join(f"INFO {LINE % one}\n" for one in log))
        return Run.load(path)

    return made


def test_nobody_lost_is_not_shown(lossy):
    run = lossy()
    assert (events(run), list(drawn(run)), table([])) == ([], [], [])


def test_kinds_and_reasons(lossy):
    run = lossy(
        (1, 0, "dropped_out"), (1, 0, "rejected"),
        (1, 3, "late"), (1, 3, "rejected"), (3, 2, "late"), (3, 2, "rejected"),
        (2, 4, "rejected"), (2, 4, "diverged"), (3, 4, "diverged"), (3, 5, "rejected"),
        log=[
            (1, 0, "dropped out (simulated)"), (1, 3, "late (simulated): 20.02 s, deadline 13 s"),
            (2, 4, "values are not finite"), (3, 2, "late (simulated): 14.00 s, deadline 13 s"),
        ],
        skipped=[2],
    )  # fmt: skip
    assert events(run)[:2] == [
        Event(1, 0, "dropped_out", "dropped out (simulated)"),
        Event(1, 3, "late", "late (simulated)"),
    ]
    assert table(events(run)) == [
        HEADINGS,
        ["late", "late (simulated)", "2, 3", "2", "1 to 3"],
        ["diverged", "model or predictions are not finite", "4", "2", "2 to 3"],
        ["dropped out", "dropped out (simulated)", "0", "1", "1"],
        ["reply not admitted", "values are not finite", "4", "1", "2"],
        ["reply not admitted", "not recorded", "5", "1", "3"],
    ]
    assert rounds_skipped(run) == [2]
    page = html([run])
    assert "Who was dropped" in page
    assert "<td>2 to 3</td>" in page
    [picture] = drawn(run)
    assert picture.told == (
        "In 3 rounds, dropped out: 1 time, 1 client; late: 2 times, 2 clients; "
        "reply not admitted: 2 times, 2 clients; diverged: 2 times, 1 client. Skipped: 1 round."
    )
    assert [text.get_text() for text in picture.figure.axes[0].get_yticklabels()] == [*"02345"]


def test_a_round_that_was_run_twice_has_its_last_reason(lossy):
    twice = [(1, 1, "late"), (1, 1, "crashed")]
    run = lossy((1, 1, "rejected"), log=twice)
    assert [event.reason for event in events(run)] == ["crashed"]
    (run.path / "log.txt").unlink()
    assert [event.reason for event in events(run)] == ["not recorded"]


def test_many_clients_are_an_axis_and_many_reasons_a_sum(lossy):
    rows = [(1, client, "rejected") for client in range(NAMED + 1)]
    run = lossy(*rows, clients=50, log=[(*row[:2], f"odd {row[1]}") for row in rows])
    _, *first, last = table(events(run))
    assert len(first) == ROWS
    assert last[:2] == ["other", f"{NAMED + 1 - ROWS} more reasons"]
    assert last[3] == str(NAMED + 1 - ROWS)
    [picture] = drawn(run)
    assert picture.figure.axes[0].get_ylim() == (49.5, -0.5)
