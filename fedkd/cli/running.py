"""``fedkd run`` of one configuration: what comes out of it, or what it would cost."""

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from ..callbacks.interrupts import Interrupts
from ..callbacks.progress import Progress
from ..config import RunConfig
from ..config.definition import Definition
from ..config.overrides import compose
from ..engine import shutdown
from ..run.result import RunResult
from ..run.runner import run
from ..rundir.summary import best_on
from ..score import Score
from .terminal import print_facts


def run_one(overrides: list[str], console: Console) -> None:
    """Run one configuration and print what came out."""
    config = compose(overrides)
    if config.resume is None:
        config = replace(config, run_dir=config.run_dir or str(default_run_dir(config)))
    with Interrupts() as interrupts:
        result = run(config, callbacks=[Progress(), interrupts])
        shutdown()
    print_summary(result, console)


def dry_run(overrides: list[str], study: Definition | None, console: Console) -> None:
    """Print what the run, or each run of a study, would cost."""
    from ..run.estimate import plan
    from ..run.study.dealing import Run, Sweep, read

    sweep = read(study.overrides) if study else Sweep([Run("run", compose(overrides))])
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
