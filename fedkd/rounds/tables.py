"""What the tables have of a round: its row, and its clients' rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..config import RunConfig
from ..score import DIVERGED
from .guarding import columns
from .measuring import ERRORS, Measurements
from .plan import Outcome, RoundPlan
from .spending import Spending


def round_row(
    config: RunConfig,
    plan: RoundPlan,
    outcome: Outcome,
    measured: Measurements,
    spending: Spending,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return a round's row of rounds.parquet, but for what its strategy adds to it.

    `seconds` are those of `phase_seconds`, with what has been measured since.
    """
    return {
        "round": plan.number,
        "participants": len(plan.cohort),
        **config.distil.columns(plan.number),
        **measured.columns(plan.evaluate is not None),
        **troubled(outcome, measured),
        "skipped": int(outcome.skipped),
        **spending.columns(outcome),
        **{f"seconds_{phase}": value for phase, value in seconds.items()},
        "seconds": spending.seconds(),
        **columns(outcome.metrics),
    }


def troubled(outcome: Outcome, measured: Measurements) -> dict[str, int]:
    """Return how many clients were rejected, and how many models have diverged."""
    return {"rejected": len(outcome.rejected), "diverged": len(measured.diverged)}


def phase_seconds(outcome: Outcome) -> dict[str, float]:
    """Return seconds per phase; what clients measured inside a phase moves to ``evaluate``.

    Clients measure their models in the call that trained them. That call's wall-clock time is
    shared out as the clients' own clocks say.
    """
    seconds = dict.fromkeys(("fit", "fuse", "distil", "evaluate"), 0.0) | outcome.seconds
    phase = "distil" if seconds["distil"] else "fit"
    asked = [numbers for numbers in outcome.metrics.values() if "seconds_phase" in numbers]
    spent = sum(numbers["seconds_phase"] for numbers in asked)
    measuring = sum(numbers.get("seconds_evaluate", 0.0) for numbers in asked)
    moved = seconds[phase] * measuring / spent if spent else 0.0
    seconds[phase] -= moved
    seconds["evaluate"] += moved
    return seconds


def client_rows(outcome: Outcome, diverged: Iterable[int]) -> list[tuple[int, str, float]]:
    """Return a round's rows of clients.parquet."""
    rows = [
        (client, name, float(value))
        for client in sorted(outcome.metrics)
        for name, value in outcome.metrics[client].items()
        if not (name.startswith("seconds") or name in ERRORS.values())
    ]
    rows += [(client, "rejected", 1.0) for client in sorted(outcome.rejected)]
    return rows + [(client, DIVERGED, 1.0) for client in sorted(diverged)]
