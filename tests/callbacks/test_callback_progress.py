import io
from pathlib import Path

import pytest
from rich.console import Console

from fedkd.callbacks import Progress, RoundRecord, RunInfo
from fedkd.callbacks.progress import rejections
from fedkd.config import RunConfig

SCALARS = {
    "alma_local": 0.912, "alma_global": 0.431,
    "bytes_up": 1_200_000, "bytes_down": 1_200_000, "seconds": 1.4,
}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def info(rounds=10):
    return RunInfo(RunConfig(rounds=rounds), Path("x"), 10, [1, 1], 5, {"mlp": 3})


def follow(console, rejected=None, error=None):
    progress = Progress(console)
    progress.on_run_start(info())
    progress.on_phase(3, "fit", 37, 100)
    progress.on_round(RoundRecord(3, 10, SCALARS, rejected=rejected or {}))
    progress.on_run_end(None, error)


def test_a_line_a_round_where_there_is_no_terminal():
    out = io.StringIO()
    follow(Console(file=out))
    assert out.getvalue() == (
        "round 3/10  ALMA local 0.912  global 0.431  up 1.2 MB  down 1.2 MB  1.4 s  left 9.8 s\n"
    )


def test_lines_are_not_wrapped():
    out = io.StringIO()
    follow(Console(file=out, width=20), {1: "x" * 500})
    assert len(out.getvalue().splitlines()) == 2


def test_no_control_codes_even_if_colour_is_forced(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    follow(Console(file=out), {1: "\x1b[2Jnot [bold]finite\x07\n2"})
    assert "\x1b" not in out.getvalue()
    assert all(char.isprintable() or char == "\n" for char in out.getvalue())
    assert "rejected client 1:  [2Jnot [bold]finite  2" in out.getvalue()


def test_a_round_without_evaluation_and_the_last_round():
    out = io.StringIO()
    progress = Progress(Console(file=out))
    progress.on_round(RoundRecord(2, 2, SCALARS | {"alma_local": None, "alma_global": None}))
    assert out.getvalue() == "round 2/2  up 1.2 MB  down 1.2 MB  1.4 s\n"


def test_rejections_are_named_up_to_a_limit():
    lines = rejections(dict.fromkeys(range(9, -1, -1), "not finite"))
    assert lines[0] == "rejected client 0: not finite"
    assert len(lines) == 6
    assert lines[-1] == "and 5 more rejected"
    assert rejections({}) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), RuntimeError()])
def test_the_terminal_shows_the_run_and_is_given_back(error, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    follow(Console(file=out, force_terminal=True, width=120), {7: "not finite"}, error)
    text = out.getvalue()
    for part in ("round 3/10  fit", "37/100", "ALMA local 0.912", "rejected client 7"):
        assert part in text
    hidden, shown = text.rfind("\x1b[?25l"), text.rfind("\x1b[?25h")
    assert 0 <= hidden < shown


def test_the_display_is_one_line_of_a_terminal_with_80_columns(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    follow(Console(file=out, force_terminal=True, width=80), {}, None)
    assert "left " in out.getvalue()
    assert "\x1b[1A" not in out.getvalue()  # one up: what a second line would need


def test_closing_twice_is_harmless():
    out = Terminal()
    progress = Progress(Console(file=out, force_terminal=True))
    progress.on_run_start(info())
    progress.close()
    shown = out.getvalue()
    progress.close()
    assert out.getvalue() == shown


def test_phases_before_the_start_are_ignored():
    out = io.StringIO()
    Progress(Console(file=out)).on_phase(1, "fit", 0, 1)
    assert out.getvalue() == ""


def test_the_time_left_of_a_resumed_run_counts_its_own_rounds(monkeypatch):
    now = iter([0.0, 0.0, 100.0, 200.0])
    monkeypatch.setattr("fedkd.callbacks.progress.time.monotonic", lambda: next(now))
    out = io.StringIO()
    progress = Progress(Console(file=out))
    progress.on_run_start(info(60))
    for number in (51, 52):  # resumed after round 50
        progress.on_round(RoundRecord(number, 60, {}))
    assert [line.rpartition("left ")[2] for line in out.getvalue().splitlines()] == [
        "15 min 0 s",
        "13 min 20 s",
    ]


def test_the_first_time_left_is_without_the_start_up(monkeypatch):
    now = iter([0.0, 0.0, 700.0])
    monkeypatch.setattr("fedkd.callbacks.progress.time.monotonic", lambda: next(now))
    out = io.StringIO()
    progress = Progress(Console(file=out))
    progress.on_run_start(info(10))
    progress.on_round(RoundRecord(1, 10, {"seconds": 2.0}))
    assert out.getvalue().rstrip().endswith("left 18 s")
