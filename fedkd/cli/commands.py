"""What the commands of `fedkd.cli.app` do; imported only once a command has been chosen."""

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from ..callbacks.interrupts import Interrupts
from ..callbacks.progress import Progress
from ..config import RunConfig
from ..config.overrides import compose
from ..engine import shutdown
from ..errors import ConfigError
from ..run.result import RunResult
from ..run.runner import run
from ..rundir.summary import best_on
from ..score import Score

if TYPE_CHECKING:
    from ..data import Federation

SHOWN_CLIENTS, SHOWN_CLASSES = 20, 20
"""Rows and columns of the class table of ``fedkd data``."""


def run_one(overrides: list[str], console: Console) -> None:
    """Run one configuration and print what came out."""
    config = compose(overrides)
    if config.resume is None:
        config = replace(config, run_dir=config.run_dir or str(default_run_dir(config)))
    with Interrupts() as interrupts:
        result = run(config, callbacks=[Progress(), interrupts])
        shutdown()
    print_summary(result, console)


def dry_run(overrides: list[str], multirun: bool, console: Console) -> None:
    """Print what the run, or each run of a sweep, would cost."""
    from ..run.estimate import plan
    from .dealing import Run, Sweep, read

    sweep = read(overrides) if multirun else Sweep([Run("run", compose(overrides))])
    beside = sweep.beside()
    for index, one in enumerate(sweep.runs):
        cost = plan(one.inline if index in beside else one.config)
        alone = one.alone or (sweep.limits.exceeded(cost) if sweep.limits else "")
        if len(sweep.runs) > 1:
            console.print(f"\n[bold]{escape(one.name)}[/]")
        cost.show(console)
        if sweep.at_once > 1:
            how = f"alone: {alone}" if alone else f"beside others, {sweep.at_once} at a time"
            console.print(f"Would be run {escape(how)}.", soft_wrap=True)


def default_run_dir(config: RunConfig) -> Path:
    """Make and return ``runs/<time>-<strategy>-<data>``, numbered if that is taken."""
    words = [config.strategy["name"], config.data.name]
    names = [str(word).rpartition(":")[-1] or "run" for word in words]
    stem = "-".join([time.strftime("%Y%m%d-%H%M%S"), names[0], Path(names[1]).name])
    for number in count(1):
        path = Path("runs", stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)  # which takes it: two runs may begin in the same second
        except FileExistsError:
            continue
        except OSError:
            pass  # the run says why
        break
    return path


def print_summary(result: RunResult, console: Console) -> None:
    """Print the headline of a finished run."""
    summary, score = result.summary, result.score
    facts: dict[str, object] = {
        "run": f"{summary['strategy']} on {summary['data']}: {summary['clients']} clients, "
        f"{summary['rounds']} rounds, engine {summary['engine']}",
        **{
            score.title(name): _scored(score, summary[f"score_{name}"], best_on(summary, name))
            + _whose(summary, name)
            for name in ("local", "global")
        },
        **_metrics(summary),
        "worst tenth": _worst(score, summary["worst_decile"], summary["ece"]),
        **_diverged(summary),
        **_spent(summary["privacy"]),
        "exchanged": f"{decimal(summary['bytes_up'])} up, {decimal(summary['bytes_down'])} down, "
        f"{summary['rejected']} replies rejected",
        "time": f"{summary['seconds']['total']:.1f} s",
        "digest": summary["digest"][:16],
        "run_dir": result.run_dir,
    }
    report = result.run_dir / "report.html"
    print_facts(facts | ({"report": report} if report.exists() else {}), console)


def _diverged(summary: dict[str, Any]) -> dict[str, object]:
    """Return how many clients have diverged, if any has."""
    if not summary["diverged"]:
        return {}
    problem = "models or predictions are not finite, metrics are what is left of them"
    return {"diverged": f"{summary['diverged']} of {summary['clients']} clients: {problem}"}


def _spent(privacy: dict[str, Any]) -> dict[str, object]:
    """Return what the client who spent most has spent, and why the run ended, if it stopped."""
    if privacy["mechanism"] == "none":
        return {}
    text = f"{privacy['mechanism']}: no formal guarantee"
    if privacy["epsilon"] is not None:
        text = f"epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:.2g}"
        text += f" ({privacy['mechanism']}, {privacy['accountant']})"
    ended = privacy.get("exhausted")
    return {"privacy": f"{text}; {ended}" if ended else text}


def print_facts(facts: dict[str, object], console: Console) -> None:
    """Print names and values, one a line; long paths are not broken, so they can be copied."""
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"[bold]{name:<{width}}[/]  {escape(str(value))}", soft_wrap=True)


def _scored(score: Score, values: dict[str, float | None], tested: int | None) -> str:
    """Return last and spread, with the best round beside them."""
    if values["last"] is None:
        return "not evaluated"
    last, std, best = (score.text(values[name] or 0.0) for name in ("last", "std", "best"))
    on, unit = f" on {tested:,} samples" if tested else "", score.unit
    return f"{last}{unit} ± {std} over clients (best round {best}{unit}{on})"


def _whose(summary: dict[str, Any], name: str) -> str:
    """Return that clients were tested on their own samples, where they were."""
    own = (name, summary["tested"]) == ("local", "local")
    return ", each on its own test samples" if own else ""


def _metrics(summary: dict[str, Any]) -> dict[str, object]:
    """Return what else the task is measured by."""
    found = summary.get("metrics", {})
    shown = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in found.items()
        if value is not None
    ]
    return {"also": ", ".join(shown)} if shown else {}


def _worst(score: Score, values: dict[str, float | None], ece: float | None) -> str:
    """Return the score of the clients that fare worst, and how well all know what they know."""
    if None in values.values():
        return "not evaluated"
    local, overall = (score.text(values[name] or 0.0) + score.unit for name in ("local", "global"))
    error = f"; calibration error {ece:.3f}" if ece is not None else ""
    return f"{local} local, {overall} global{error}"


def show_data(overrides: list[str], out: Path, console: Console) -> None:
    """Print who holds which samples, and draw it to `out`."""
    from ..data import build_federation, corpora
    from ..report.figures import partition_figure
    from ..run.resolving import wanted

    config = compose(overrides)
    with TemporaryDirectory() as scratch:
        sources = corpora(config, targets=wanted(config))
        federation = build_federation(config, *sources, Path(scratch))
        _print_partition(federation, console)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            names, counts = federation.class_names, federation.histograms
            called = federation.client_names
            partition_figure(counts, names, width=8, client_names=called).savefig(out, dpi=150)
        except (OSError, ValueError) as error:
            raise ConfigError("--out", out, str(error).splitlines()[0]) from error
    print_facts({"picture": out}, console)


def _print_partition(federation: "Federation", console: Console) -> None:
    sizes = federation.sizes
    counts = federation.histograms
    held = (counts > 0).sum(axis=1)

    def spread(values: np.ndarray) -> str:
        return f"{values.min():.0f} / {np.median(values):g} / {values.max():.0f}"

    facts: dict[str, object] = {
        "data": f"{federation.corpus.name}, {_labels(federation)}, shape {federation.shape}",
        "clients": federation.clients,
        "samples per client": f"{spread(sizes)} (min / median / max)",
        f"{_groups(federation)} per client": spread(held),
        "transfer samples": federation.transfer_size,
        "test samples": len(federation.corpus.y_test),
    }
    if federation.tests is not None:
        facts["own test samples"] = spread(federation.tests)
    print_facts(facts | _columns(federation), console)
    console.print(_class_table(federation, counts))
    if federation.clients > SHOWN_CLIENTS:
        console.print(f"... and {federation.clients - SHOWN_CLIENTS} more clients", style="dim")


def _labels(federation: "Federation") -> str:
    """Return how many classes there are, or which targets."""
    targets = federation.targets
    return f"target {', '.join(targets.names)}" if targets.numeric else f"{targets.size} classes"


def _groups(federation: "Federation") -> str:
    return "bins" if federation.targets.numeric else "classes"


def _columns(federation: "Federation") -> dict[str, object]:
    return {"columns": "; ".join(federation.notes)} if federation.notes else {}


def _class_table(federation: "Federation", counts: np.ndarray) -> Table:
    """Return samples by client and class; the main class only, where classes are many."""
    from ..data import partition_table

    table = Table(box=None, pad_edge=False)
    many = federation.classes > SHOWN_CLASSES
    main_title = "main bin" if federation.targets.numeric else "main class"
    names = [main_title, "share"] if many else federation.class_names
    rows = partition_table(federation)[:SHOWN_CLIENTS]
    about = [key for key in ("client", "name", "samples", "tested", "classes") if key in rows[0]]
    titles = [_groups(federation) if key == "classes" else key for key in about]
    for title in [*titles, *names]:
        table.add_column(escape(title), justify="right", overflow="ellipsis")
    for row in rows:
        main = [row["main_class"], f"{row['main_share']:.0%}"]
        each = [f"{count:.0f}" if count else "." for count in counts[row["client"]]]
        cells = [*(row[key] for key in about), *(main if many else each)]
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table
