"""What the comparison table means, and what is not as it should be in its runs."""

import math
from collections.abc import Sequence

from .reader import Run
from .statistics import Group
from .table import AREA, ECE, WORST, columns


def meaning(groups: Sequence[Group], wide: bool = False) -> list[str]:
    """Return what the numbers mean."""
    counts = {len(group.runs) > 1 for group in groups}
    over = {
        (True,): "std over seeds (sample)",
        (False,): "std over clients",
        (False, True): "std over seeds where there are several, else over clients",
    }[tuple(sorted(counts))]
    score, titles = groups[0].score, columns(groups, wide)
    label = score.label or score.metric.upper()
    return [
        f"{label}: mean {score.metric} of the clients' own models on the official test split after "
        f"the last round; local = {local_is([run for group in groups for run in group.runs])}, "
        "global = on the whole split.",
        f"± {over}. Dimmed: best round, for comparison only. Bold: {_BEST[score.more]}. "
        "Up and down: payload of the whole run" + (", mean over seeds." if True in counts else "."),
        *subsets(groups),
        *([_WORST.format(score.metric)] * any(title.startswith(WORST) for title in titles)),
        *([_ECE] * (ECE in titles)),
        *(["Area: mean height of the curve of ALMA global against labels."] * (AREA in titles)),
        *([_IMBALANCE] * ("imbalance" in titles)),
    ]


LOCAL = {
    "official": "under each client's own label distribution",
    "local": "on each client's own test samples",
}
"""What local accuracy is, by the summary's ``tested``."""


def local_is(runs: Sequence[Run]) -> str:
    """Return what local accuracy is in these runs."""
    return " or ".join(text for kind, text in LOCAL.items() if kind in {*map(_tested, runs)})


def _tested(run: Run) -> str:
    return str(run.summary["tested"])


def subsets(groups: Sequence[Group]) -> list[str]:
    """Return on how many samples rounds before the last were measured, where not on all."""
    sizes = {
        int(size)
        for group in groups
        for run in group.runs
        for size, error in zip(run.column("evaluated"), run.column("alma_global_se"), strict=True)
        if math.isfinite(error) or size < (run.summary["evaluated"]["last"] or 0)
    }
    if not sizes:
        return []
    count = " or ".join(f"{size:,}" for size in sorted(sizes))
    return [
        f"Rounds before the last were measured on {count} samples of the test split, the same of "
        "each class: a best round among them is a little too good, as the luckiest."
    ]


_IMBALANCE = (
    "Imbalance: labels of the most frequent class to those of the rarest, all clients together, "
    "after the last query; ∞ where a class has none."
)
_WORST = "Worst: mean {} of the worst tenth of the clients, local / global."
_ECE = "ECE: how far the models' confidence is from their accuracy, mean over clients, 0 is best."
_BEST = {True: "highest", False: "lowest, which is best"}


def warnings(groups: Sequence[Group]) -> list[str]:
    """Return what is not as it should be: runs unfinished, replies rejected, models diverged."""
    lines = []
    for group in groups:
        for run in group.runs:
            if not run.finished:
                done = f"{run.rounds.num_rows} of {run.config['rounds']} rounds"
                lines.append(f"* unfinished, {done}: {run.path}")
            if run.summary.get("rejected"):
                lines.append(f"{run.summary['rejected']} replies rejected: {run.path}")
            if run.summary["diverged"]:
                share = f"{run.summary['diverged']} of {run.summary['clients']} clients"
                lines.append(f"! diverged, {share} (models not finite): {run.path}")
    return lines
