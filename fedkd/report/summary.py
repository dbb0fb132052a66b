"""The words and numbers at the top of a report."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from .reader import Run
from .statistics import Group, settings, text

Fact = tuple[str, str, str]
"""A name, a value, and a remark."""


def title(groups: Sequence[Group]) -> str:
    """Return what the page is about."""
    data = _common(groups, lambda run: Path(run.summary["data"]).name)
    on = f" on {data[0]}" if len(data) == 1 else ""
    names = list(dict.fromkeys(group.strategy for group in groups))
    if len(names) <= 4:
        return ", ".join(names) + on
    return f"{len(names)} strategies{on}"


def subtitle(groups: Sequence[Group]) -> list[str]:
    """Return what all runs share, in a few words each."""
    seeds = sorted({seed for group in groups for seed in group.seeds})
    shown = ", ".join(map(str, seeds[:8])) + (" …" if len(seeds) > 8 else "")
    candidates = [
        _common(groups, lambda run: _counted(run.summary["clients"], "client")),
        _common(groups, lambda run: _counted(run.summary["rounds"], "round")),
        _common(groups, lambda run: skew(run.config)),
        _common(groups, lambda run: f"{text(run.config.get('model', ''))} model"),
        _common(groups, lambda run: f"{run.summary['engine']} engine"),
    ]
    facts = [values[0] for values in candidates if len(values) == 1]
    return [*facts, f"seed{'s' if len(seeds) > 1 else ''} {shown}"]


def skew(config: dict[str, Any]) -> str:
    """Return how the data is shared out.

    Examples
    --------
    >>> skew({"data": {"alpha": 0.1, "partitioner": {"name": "auto"}}})
    'Dirichlet(0.1)'
    """
    data = config.get("data", {})
    partitioner = data.get("partitioner") or {}
    name = str(partitioner.get("name") or partitioner.get("_target_", "auto")).rpartition(".")[2]
    if name not in ("auto", "dirichlet"):
        return name
    alpha = data.get("alpha")
    return "IID" if alpha is None else f"Dirichlet({alpha})"


def headline(groups: Sequence[Group]) -> list[Fact]:
    """Return the numbers to read first."""
    facts = [_scored(groups, name) for name in ("local", "global")]
    if len(groups) == 1 and (worst := _worst(groups[0])) is not None:
        facts.append(worst)
    runs = [run for group in groups for run in group.runs]
    up, down = (sum(int(run.summary[f"bytes_{way}"]) for run in runs) for way in ("up", "down"))
    facts.append(("Traffic", decimal(up + down), f"{decimal(up)} up, {decimal(down)} down"))
    seconds = sum(run.summary["seconds"]["total"] for run in runs)
    rounds = runs[0].rounds.num_rows
    count = f"{len(runs)} runs" if len(runs) > 1 else _counted(rounds, "round")
    facts.append(("Time", f"{seconds:.1f} s", count))
    if len(groups) == 1:
        facts += _privacy(groups[0].runs)
    rejected = sum(int(run.summary.get("rejected") or 0) for run in runs)
    if rejected:
        facts.append(("Rejected replies", str(rejected), "not admitted, named in log.txt"))
    diverged = sum(int(run.summary.get("diverged") or 0) for run in runs)
    if diverged:
        of = sum(int(run.summary["clients"]) for run in runs)
        remark = f"of {of}: models or predictions are not finite, named in log.txt"
        facts.append(("Diverged clients", str(diverged), remark))
    return facts


def costs(run: Run) -> list[tuple[str, str]]:
    """Return the cost table of one run."""
    rounds = max(run.rounds.num_rows, 1)
    each = max(float(run.column("participants").sum()), 1.0) if run.rounds.num_rows else 1.0
    if not math.isfinite(each):
        each = float(rounds * run.summary["clients"])
    result = []
    for way in ("up", "down"):
        size = int(run.summary[f"bytes_{way}"])
        result.append((f"Bytes {way}, whole run", decimal(size)))
        result.append((f"Bytes {way}, per client and round", decimal(round(size / each))))
    seconds = run.summary["seconds"]
    result += [(f"Seconds, {name}", f"{value:.2f}") for name, value in seconds.items()]
    if "virtual_seconds" in run.summary:
        result.append(("Virtual seconds", f"{run.summary['virtual_seconds']:.4g}"))
    return result


def configuration(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Return the keys that all groups share, with their values."""
    flat = [settings(group.runs[0].config) for group in groups]
    shared = [
        key for key in flat[0] if all(key in each and each[key] == flat[0][key] for each in flat)
    ]
    return [(key, text(flat[0][key])) for key in shared]


def versions(runs: Sequence[Run]) -> list[str]:
    """Return with which versions the runs were made, and which runs, where these are several."""
    found: dict[str, list[str]] = {}
    for run in runs:
        words = ", ".join(
            f"{name} {text}" for name, text in run.summary.get("versions", {}).items()
        )
        found.setdefault(words or "not recorded", []).append(run.path.name)
    if len(found) == 1:
        return list(found)
    return [f"{words} ({', '.join(names)})" for words, names in found.items()]


def _scored(groups: Sequence[Group], name: str) -> Fact:
    score = groups[0].score
    known = [group for group in groups if math.isfinite(group.scored(name).mean)]
    title = score.title(name)
    if not known:
        return title, "-", "not evaluated"
    best = score.best([group.scored(name).mean for group in known])
    top = next(group for group in known if group.scored(name).mean == best)
    value = f"{score.text(best)}{score.unit}"
    spread = f"± {score.text(top.spread(name))} over {'seeds' if len(top.runs) > 1 else 'clients'}"
    if len(groups) > 1:
        which = "Highest" if score.more else "Lowest"
        return f"{which} {title}", value, f"{top.label}, {spread}"
    tested = top.tested(name)
    on = f" on {tested:,} samples" if tested else ""
    return title, value, f"{spread}; best round {score.text(top.scored(name, 'best').mean)}{on}"


def _worst(group: Group) -> Fact | None:
    """Return what a mean hides, if the run knows it; several groups have it in the table."""
    local, overall = (
        group.over_seeds(lambda run, n=name: run.summary["worst_decile"][n]).mean  # type: ignore[misc]
        for name in ("local", "global")
    )
    if not math.isfinite(local):
        return None
    score = group.score
    error = group.over_seeds(lambda run: run.summary["ece"]).mean
    more = f"; calibration error {error:.3f}" if math.isfinite(error) else ""
    shown = f"{score.text(local)}{score.unit}"
    return "Worst tenth", shown, f"local; {score.text(overall)} global{more}"


def _privacy(runs: Sequence[Run]) -> list[Fact]:
    """Return the largest epsilon of the runs, where there is a formal guarantee."""
    known = [
        run.summary["privacy"] for run in runs if run.summary["privacy"]["epsilon"] is not None
    ]
    if not known:
        return []
    most = max(known, key=lambda privacy: privacy["epsilon"])
    remark = f"{most['mechanism']}, delta {most['delta']:.2g}, whoever spent most"
    return [("Epsilon", f"{most['epsilon']:.3g}", remark)]


def _common(groups: Sequence[Group], value: Any) -> list[str]:
    return list(dict.fromkeys(str(value(run)) for group in groups for run in group.runs))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
