"""The page of the study of objectives: ranked against `kl`, from the rows that were kept.

``python -m fedkd.experiments.reproduce.objectives_page STUDY`` writes ``docs/objectives_STUDY.md``
and its figure, from ``--rows`` and ``--seconds``; it runs nothing.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from ...report.drawing.style import GROUPS, canvas, styled
from ...report.markdown import table
from .cells import Row, saved
from .kept import plainly
from .objectives import Name, label
from .objectives_ranking import AGAINST, Finding, by_name, counted, findings
from .objectives_speed import SECONDS
from .objectives_studies import STUDIES, Setting, Study
from .pages import write

SLOWER = 1.5
"""How many times the seconds of `AGAINST` count as more."""


def page(study: Study, rows: list[Row], seconds: list[Row]) -> str:
    """Return the page."""
    found = findings(study, rows)
    times = {label(row): row["seconds"] for row in seconds}
    return TEXT.format(
        study=study,
        said=study.said.format(rounds=study.rounds),
        count=len(counted(study, rows)),
        progress=progress(study, rows) + more_seeds(found),
        verdict=verdict(found, times),
        alike=table(_ranking([one for one in found if not one.labels], times)),
        labelled=table(_ranking([one for one in found if one.labels], times)),
        settings=table(_by_setting(found, counted(study, rows))),
    )


def progress(study: Study, rows: list[Row]) -> str:
    """Return what is not done yet, "" when all is."""
    settings = counted(study, rows)
    away = sorted(by_name(study, rows).keys() - {one.name for one in findings(study, rows)})
    said = []
    if len(settings) < len(study.settings):
        heads = "; ".join(
            f"{strategy}, {models}, {alpha:g}" for models, alpha, strategy in settings
        )
        said = [
            f"**Not done yet:** {len(settings)} of the {len(study.settings)} settings ({heads})."
        ]
    if away:
        said.append(f"Not run in all of these: {', '.join(f'`{name}`' for name in away)}.")
    return "\n".join(["", *said, ""]) if said else ""


def more_seeds(found: list[Finding]) -> str:
    """Return who has more seeds than others, "" if all have as many."""
    counts = Counter(len(one.points) for one in found if one.name != AGAINST)
    if len(counts) < 2:
        return ""
    few, many = min(counts), max(counts)
    return f"\nThe {counts[many]} that were first with {few} seeds have {many}.\n"


def verdict(found: list[Finding], times: dict[str, float]) -> str:
    """Return which help, which do not, and which only cost time."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in found:
        if one.name != AGAINST:
            groups[_group(one, times)].append(f"`{one.name}`" + " †" * one.labels)
    return "\n".join(
        f"- **{g}**: {', '.join(groups[g]) or 'none'}." for g in GROUPINGS if g in groups
    )


HELPS, HURTS = "Better than `kl`", "Worse than `kl`"
NOTHING, COSTS = "No difference shown", "No difference shown, and slower"
FEW = "Too few seeds to say (an interval needs three)"
GROUPINGS = (HELPS, NOTHING, COSTS, HURTS, FEW)


def _group(one: Finding, times: dict[str, float]) -> str:
    if one.interval is None:
        return FEW
    low, high = one.interval
    if low > 0 or high < 0:
        return HELPS if low > 0 else HURTS
    slow = times.get(one.name, 0) > SLOWER * times.get(AGAINST, float("inf"))
    return COSTS if slow else NOTHING


def _ranking(found: list[Finding], times: dict[str, float]) -> list[tuple[str, ...]]:
    heads = ("mean", "95 % interval", "local", "global", "seeds", "seconds")
    lines: list[tuple[str, ...]] = [("", "objective, guard", *heads)]
    for rank, one in enumerate(found, start=1):
        local, overall = one.points.mean(axis=(0, 1))
        spread = "fewer than 3 seeds" if len(one.points) < 3 else "-"
        if one.interval is not None:
            spread = "{:+.1f} to {:+.1f}".format(*one.interval)
        cells = (f"{one.mean:+.1f}", spread, f"{local:+.1f}", f"{overall:+.1f}")
        time = f"{times[one.name]:.3f}" if one.name in times else "-"
        lines.append((str(rank), f"`{one.name}`", *cells, str(len(one.points)), time))
    return lines


def _by_setting(found: list[Finding], settings: list[Setting]) -> list[tuple[str, ...]]:
    heads = [f"{strategy}, {models}, {alpha:g}" for models, alpha, strategy in settings]
    lines = [("objective, guard", *heads)]
    for one in found:
        if one.name == AGAINST:
            cells = [f"{value:.1f}" for value in one.accuracy.mean(axis=(0, 2))]
            lines.append((f"`{one.name}`, accuracy in %", *cells))
        else:
            cells = [f"{value:+.1f}" for value in one.points.mean(axis=(0, 2))]
            lines.append((f"`{one.name}`", *cells))
    return lines


@styled
def figure(found: list[Finding]) -> Figure:
    """Draw each difference: a dot a seed, a line for the interval."""
    drawn, (axes,) = canvas(6.4, 0.24 * len(found) + 1.0)
    for height, one in enumerate(reversed(found)):
        axes.plot(one.points.mean(axis=(1, 2)), [height] * len(one.points), ".", color=GROUPS[4])
        axes.plot(one.mean, height, "o", color=GROUPS[0], markersize=5)
        if one.interval is not None:
            axes.plot(one.interval, [height] * 2, color=GROUPS[0])
    axes.axvline(0, color=GROUPS[1], linewidth=1)
    axes.set_yticks(range(len(found)), [one.name for one in reversed(found)])
    axes.set_xlabel(f"accuracy minus that of {AGAINST}, points")
    return drawn


TEXT = """# {study.title}

{said} Every objective that
learns from logits, and every guard around `kl`, under KnFu (logits, beta 1) and FedMD, with
Dirichlet(0.1) and Dirichlet(1). Differences to `kl` with the same seed and setting, in points of
accuracy after the last round: the mean of local and global accuracy over these {count} settings,
then over those seeds that have all of them. The interval is Student's over seeds.
{progress}
{verdict}

† learns from the transfer set's labels too, which `kl` does not see. At 95 % about one in twenty
of such intervals lies beside zero by chance; few seeds make them wide. All have their default
parameters and the same learning rate, and losses differ in size: nothing is tuned, so this shows
how objectives behave in one small setting as they come. A mean over settings may hide that an
objective helps in one and hurts in another: see the last table.

![Difference of each objective to kl](../{study.figure})

{alike}
With the transfer set's labels, so that a gain may be the labels':

{labelled}
Seconds are CPU seconds of learning on 1,000 samples (MNIST and `mlp`, batches of 32, one thread,
with the optimiser's step), measured beside other work: from one measurement to another they
differed by up to a half, so *slower* above means by more than that.

## Setting by setting

Means over seeds, of local and global accuracy: points of difference, and for `kl` itself the
accuracy. Heads are strategy, models, and alpha of Dirichlet.

{settings}{study.remark}
The numbers are made from [a row a run](rows/objectives_{study.name}.csv) and
[the measured seconds](rows/objectives_seconds.csv). This goes on with what is missing there, for
more seeds or new objectives, and writes this page anew:

<!-- not run: takes an hour, and the data -->
```sh
python -m fedkd.experiments.reproduce.objectives {study.name} --seeds 3
python -m fedkd.experiments.reproduce.objectives_page {study.name}
```
"""


@plainly
def command(
    study: Annotated[Name, typer.Argument()],
    *,
    rows: Annotated[Path | None, typer.Option(exists=True, help="What was run.")] = None,
    seconds: Annotated[Path, typer.Option(help="What was timed.")] = SECONDS,
    out: Annotated[Path | None, typer.Option(help="The page.")] = None,
    picture: Annotated[Path | None, typer.Option(help="The figure.")] = None,
) -> None:
    """Write the page and its figure."""
    one = STUDIES[study]
    kept, drawn = saved(rows or one.rows), picture or one.figure
    moved = {one.rows: kept.path, SECONDS: seconds, one.figure: drawn}
    write(page(one, kept, saved(seconds)), one.page, out or one.page, moved)
    figure(findings(one, kept)).savefig(drawn, dpi=150)


if __name__ == "__main__":
    typer.run(command)
