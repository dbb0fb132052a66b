"""The page of the study of objectives: ranked against `kl`, from the rows that were kept.

``python -m fedkd.experiments.reproduce.objectives_page`` writes ``docs/objectives_study.md`` and
its figure, from ``--rows`` and ``--seconds``; it runs nothing.
"""

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from ...report.style import GROUPS, canvas, styled
from ...strategies.catalogue import table
from .cells import Row, saved
from .objectives import ROUNDS, ROWS, label
from .objectives_ranking import AGAINST, SETTINGS, Finding, Setting, by_name, counted, findings
from .objectives_speed import SECONDS

PAGE, FIGURE = Path("docs/objectives_study.md"), Path("experiments/figures/objectives.png")

SLOWER = 1.5
"""How many times the seconds of `AGAINST` count as more."""


def page(rows: list[Row], seconds: list[Row]) -> str:
    """Return the page."""
    found = findings(rows)
    times = {label(row): row["seconds"] for row in seconds}
    return TEXT.format(
        rounds=ROUNDS[False],
        progress=progress(rows),
        verdict=verdict(found, times),
        ranking=table(_ranking([one for one in found if not one.labels], times)),
        labelled=_labelled([one for one in found if one.labels], times),
        settings=table(_by_setting(found, counted(rows))),
    )


def progress(rows: list[Row]) -> str:
    """Return what is not done yet, "" when all is."""
    settings = counted(rows)
    away = sorted(by_name(rows).keys() - {one.name for one in findings(rows)})
    said = []
    if len(settings) < len(SETTINGS):
        heads = "; ".join(
            f"{strategy}, {models}, {alpha:g}" for models, alpha, strategy in settings
        )
        said = [f"**Not done yet:** {len(settings)} of the {len(SETTINGS)} settings ({heads})."]
    if away:
        said.append(f"Not run in all of these: {', '.join(f'`{name}`' for name in away)}.")
    return "\n".join(["", *said, ""]) if said else ""


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
        name = f"`{one.name}`" + " †" * one.labels
        lines.append((str(rank), name, *cells, str(len(one.points)), time))
    return lines


def _labelled(found: list[Finding], times: dict[str, float]) -> str:
    """Return a list of its own of what sees labels, "" if nothing does."""
    return f"\n{SEEING}\n\n{table(_ranking(found, times))}" if found else ""


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


SEEING = """These see the transfer set's labels (†), and are ranked by themselves: that they know
more than `kl` does is part of their difference to it."""

TEXT = """# Objectives under the same conditions

MNIST, 20 clients with 200 samples each, {rounds} rounds, 500 transfer samples: every objective that
learns from logits, and every guard around `kl`, under KnFu and FedMD, with Dirichlet(0.1) and
Dirichlet(1), clients of one architecture (`mlp`) and with every fourth a `lenet5`. Differences to
`kl` with the same seed and setting, in points of accuracy after the last round: the mean of local
and global accuracy over these eight settings, then over those seeds that have all of them. The
interval is Student's over seeds. † learns from the transfer set's labels, which `kl` does not see.
{progress}
{verdict}

At 95 % about one in twenty of such intervals lies beside zero by chance; few seeds make them wide.
All have their default parameters and the same learning rate, and losses differ in size: nothing is
tuned, so this shows how objectives behave in one small setting as they come. A mean over settings
may hide that an objective helps in one and hurts in another: see the second table.

![Difference of each objective to kl](../experiments/figures/objectives.png)

{ranking}{labelled}
Seconds are CPU seconds of learning on 1,000 samples (`mlp`, batches of 32, one thread, with the
optimiser's step), measured beside other work: from one measurement to another they differed by up
to a half, so *slower* above means by more than that.

## Setting by setting

Means over seeds, of local and global accuracy: points of difference, and for `kl` itself the
accuracy. Heads are strategy, models, and alpha of Dirichlet.

{settings}
KnFu mixes logits here, with beta 1. In its published form (soft labels, beta 10) it fuses next to
nothing under Dirichlet(0.1), so that there is little to learn well or badly: with `mlp`, one seed,
local and global accuracy are 95.1 and 27.7 with `kl`, 95.0 and 27.9 with `dist`, and 95.0 and 27.6
for clients that stay alone. `mlkd` does harm there, too (82.6 and 18.6).

The numbers are made from [a row a run](rows/objectives_mnist.csv) and
[the measured seconds](rows/objectives_seconds.csv). This goes on with what is missing there, for
more seeds or new objectives, and writes this page anew:

<!-- not run: takes an hour, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.objectives --seeds 3
python -m fedkd.experiments.reproduce.objectives_speed
python -m fedkd.experiments.reproduce.objectives_page
```
"""


def command(
    *,
    rows: Annotated[Path, typer.Option(help="What was run.")] = ROWS,
    seconds: Annotated[Path, typer.Option(help="What was timed.")] = SECONDS,
    out: Annotated[Path, typer.Option(help="The page.")] = PAGE,
    picture: Annotated[Path, typer.Option(help="The figure.")] = FIGURE,
) -> None:
    """Write the page and its figure."""
    kept = saved(rows)
    out.write_text(page(kept, saved(seconds)))
    figure(findings(kept)).savefig(picture, dpi=150)


if __name__ == "__main__":
    typer.run(command)
