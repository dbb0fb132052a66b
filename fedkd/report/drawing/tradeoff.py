"""What protection costs and what it hides: accuracy and attack success against epsilon."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..findings import found
from ..reader import Run
from ..statistics import Estimate, Group, Runs, as_groups
from .style import GROUPS, INK, LINES, canvas, legend_below, styled

SPENT = ("privacy", "privacy.epsilon", "privacy.noise_multiplier")
"""Settings that move a group along a curve, not to another one."""


@dataclass(frozen=True)
class Measure:
    """What is drawn against epsilon.

    Attributes
    ----------
    title : str
        Of the axis and the column.
    value : callable
        Run -> number, or None where the run does not have it.
    chance : callable
        Run -> what an attack gets that has learnt nothing; None if there is no such.
    """

    title: str
    value: Callable[[Run], float | None]
    chance: Callable[[Run], float | None] = lambda run: None


def _found(run: Run, attack: str, variant: str, metric: str) -> float | None:
    finding = found(run, attack) or {"results": {}}
    value: float | None = finding["results"].get(variant, {}).get(metric)
    return value


def _membership(run: Run) -> float | None:
    """Return the AUC of LiRA on the uploads, or of the loss where there were no shadow models."""
    scores = [_found(run, "membership", f"knowledge / {name}", "auc") for name in ("lira", "loss")]
    return next((score for score in scores if score is not None), None)


def _kl(variant: str) -> Callable[[Run], float | None]:
    return lambda run: _found(run, "label_distribution", variant, "kl")


def _last(name: str) -> Callable[[Run], float | None]:
    def value(run: Run) -> float | None:
        last = run.summary[f"score_{name}"]["last"]
        return None if last is None else run.score.scale * last

    return value


MEASURES = (
    Measure("membership AUC", _membership, lambda run: 0.5),
    Measure("KL to label shares", _kl("mean soft label"), _kl("prior: population")),
)

MEANING = (
    "Epsilon is what the client that spent most has spent; flat lines have no formal guarantee. "
    "Membership: LiRA on a client's uploads (the loss where no shadow models were trained). "
    "KL: from a client's true label distribution to its mean uploaded soft label; low is leaky. "
    "Dotted: what an attack gets that looks at no upload."
)


def differ_in_privacy(groups: Sequence[Group]) -> bool:
    """Say whether the groups have several guarantees, one of them formal."""
    found = {(mechanism(group), epsilon(group)) for group in groups}
    return len(found) > 1 and any(spent is not None for _, spent in found)


def mechanism(group: Group) -> str:
    """Return the name of the group's mechanism."""
    return str(group.runs[0].summary["privacy"]["mechanism"])


def epsilon(group: Group) -> float | None:
    """Return what was spent, mean over seeds; None without a formal guarantee."""
    mean = group.over_seeds(lambda run: run.summary["privacy"]["epsilon"]).mean
    return mean if math.isfinite(mean) else None


def measures(groups: Sequence[Group]) -> list[Measure]:
    """Return the measures that some run has."""
    runs = [run for group in groups for run in group.runs]
    score = groups[0].score
    scores = [Measure(score.title(name) + score.axis, _last(name)) for name in ("local", "global")]
    return [m for m in (*scores, *MEASURES) if any(m.value(run) is not None for run in runs)]


def table(groups: Sequence[Group]) -> list[list[str]]:
    """Return a heading and a row a group, mean ± sample standard deviation over seeds."""
    shown = measures(groups)
    lines = [["strategy", "privacy", "epsilon", *(measure.title for measure in shown)]]
    for group in groups:
        spent = epsilon(group)
        numbers = [_text(group.over_seeds(measure.value)) for measure in shown]
        name = ", ".join([group.strategy, *_others(group)])
        lines.append([name, mechanism(group), "-" if spent is None else f"{spent:.3g}", *numbers])
    return lines


@styled
def tradeoff_figure(runs: Runs) -> Figure:
    """Draw every measure against epsilon: a curve for each strategy and mechanism.

    The band is one standard deviation over seeds.
    """
    groups = as_groups(runs)
    shown = measures(groups)
    columns = 2 if len(shown) > 2 else len(shown)
    rows = math.ceil(len(shown) / columns)
    figure, panels = canvas(3.9 * columns, 2.7 * rows + 0.6, rows, columns)
    for axes, measure in zip(panels, shown, strict=False):
        for curve in curves(groups):
            _draw(axes, measure, *curve)
        chance = [measure.chance(run) for group in groups for run in group.runs]
        known = [value for value in chance if value is not None]
        if known:
            axes.axhline(float(np.mean(known)), color=INK, lw=0.8, ls=":")
        axes.set(xscale="log", xlabel="epsilon", ylabel=measure.title)
        axes.xaxis.set_major_formatter("{x:g}")
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    legend_below(figure, panels[0])
    return figure


def curves(groups: Sequence[Group]) -> list[tuple[list[Group], str, str, str]]:
    """Return groups that differ in what they spend only, with label, colour and line style.

    Colours tell mechanisms apart, line styles the rest.
    """
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        rest = ", ".join([group.strategy, *_others(group)])
        found.setdefault((rest, mechanism(group)), []).append(group)
    rests, names = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
    return [
        (
            members,
            f"{rest}, {name}",
            GROUPS[names.index(name) % len(GROUPS)],
            LINES[rests.index(rest) % len(LINES)],
        )
        for (rest, name), members in found.items()
    ]


def _draw(
    axes: Axes, measure: Measure, groups: list[Group], label: str, colour: str, line: str
) -> None:
    points = [(epsilon(group), group.over_seeds(measure.value)) for group in groups]
    formal = [(spent, value) for spent, value in points if spent is not None]
    formal.sort(key=lambda point: point[0])
    how: dict[str, Any] = {"label": label, "color": colour, "ls": line, "lw": 1.6}
    if formal:
        at, mean = [spent for spent, _ in formal], np.array([value.mean for _, value in formal])
        spread = np.nan_to_num([value.std for _, value in formal])
        axes.plot(at, mean, marker="o", ms=3, **how)
        axes.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.13, linewidth=0)
        return
    for _, value in points:
        if value.n:
            spread = np.nan_to_num(value.std)
            axes.axhline(value.mean, **how)
            axes.axhspan(value.mean - spread, value.mean + spread, color=colour, alpha=0.08, lw=0)


def _others(group: Group) -> list[str]:
    """Return the settings that are not what is drawn."""
    return [f"{key}={text}" for key, text in group.settings.items() if key not in SPENT]


def _text(value: Estimate) -> str:
    if not value.n:
        return "-"
    digits = 1 if abs(value.mean) >= 10 else 3
    spread = f" ± {value.std:.{digits}f}" if math.isfinite(value.std) else ""
    return f"{value.mean:.{digits}f}{spread}"
