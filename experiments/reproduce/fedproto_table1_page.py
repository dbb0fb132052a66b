"""The page of FedProto's Table 1: claim, numbers and verdict, from the rows that were kept.

``python -m fedkd.experiments.reproduce.fedproto_table1_page`` writes ``docs/fedproto_table1.md``
from ``--rows``; it runs nothing.
"""

from pathlib import Path

import numpy as np
import typer
from scipy.stats import ttest_1samp

from ...report.markdown import table
from .cells import Row
from .claims import NOT, OPEN, ORDERING, REPRODUCED, UNTRIED, early, shown, unlisted, verdict
from .fedproto_protocol import running
from .fedproto_table1 import CLAIM, FULL, METHODS, QUICK, ROWS, WAYS, cells
from .fedproto_table1_words import HOW, SHORT, TRAP, TRAP_AGAIN
from .pages import writing
from .tables import chosen, framed, seconds, versions

PAGE = Path("docs/fedproto_table1.md")
SEEDS = 3
BEST, ALONE = "fedproto", "local"
ORDER = [(BEST, other) for other in METHODS if other != BEST]


def page(rows: list[Row]) -> str:
    """Return the page."""
    return framed(CLAIM, rows, cells(SEEDS), [*_verdicts(rows), "", *_tables(rows), HOW])


def predicted(row: Row) -> list[float]:
    """Return each client's accuracy by the method's own predictor: FedProto's is the prototypes."""
    return unlisted(row["nearest"]) or unlisted(row["heads"])


def over_clients(each: list[list[float]]) -> str:
    """Return mean and sample deviation over clients, means over seeds, in per cent; "-" = none.

    Examples
    --------
    >>> over_clients([[0.5, 0.7], [0.6, 0.6]]), over_clients([])
    ('60.00 ± 7.07', '-')
    """
    if not each:
        return "-"
    mean, deviation = 100 * np.mean(each), 100 * np.mean([np.std(one, ddof=1) for one in each])
    return f"{mean:.2f} ± {deviation:.2f}"


def _verdicts(rows: list[Row]) -> list[str]:
    lines = []
    for ways in WAYS:
        own = {name: chosen(rows, ways=ways, rounds=FULL, method=name) for name in METHODS}
        published = {name: CLAIM.published[name][ways] for name in METHODS}
        judged = (METHODS, "accuracies", *verdict(means(own), published, ORDER))
        about = [judged, *(((BEST, ALONE), *one) for one in compared(own[BEST], own[ALONE]))]
        for methods, part, word, why in about:
            few = word != UNTRIED and any(len(own[name]) < SEEDS for name in methods)
            said = (
                f"**{UNTRIED}** (fewer than {SEEDS} seeds: {why})" if few else f"**{word}** ({why})"
            )
            lines.append(f"- n = {ways}, {part}: {said}.")
    return lines


def means(own: dict[str, list[Row]]) -> dict[str, float]:
    """Return the accuracy of each method that has been run: the mean over clients and seeds."""
    return {
        name: float(np.mean([np.mean(predicted(row)) for row in runs]))
        for name, runs in own.items()
        if runs
    }


def compared(best: list[Row], alone: list[Row]) -> list[tuple[str, str, str]]:
    """Return what the two claims about staying alone come to: part, word and why.

    Runs are compared in pairs with one seed. The gain is reproduced if the published one is in the
    95 % interval over clients, its sign if that is above 0. The spread is if it is nearer to the
    published share of that of clients alone, a tenth, than to all of it.
    """
    pairs = [(one, other) for one in best for other in alone if one["seed"] == other["seed"]]
    if not pairs:
        why = "prototypes and clients alone have not both been run"
        return [("gain over clients alone", UNTRIED, why), ("spread of clients", UNTRIED, why)]
    ways, seeds = pairs[0][0]["ways"], f"{len(pairs)} seed{'s' if len(pairs) > 1 else ''}"
    (mean, deviation), (other, usual) = (CLAIM.published[name][ways] for name in (BEST, ALONE))
    gains = np.mean([np.subtract(predicted(one), predicted(two)) for one, two in pairs], axis=0)
    low, high = ttest_1samp(100 * gains, 0).confidence_interval(0.95)
    word = (
        REPRODUCED
        if low <= mean - other <= high
        else ORDERING
        if low > 0
        else OPEN
        if high > 0
        else NOT
    )
    gain = (
        f"{100 * gains.mean():.2f} points, by Student's 95 % interval over clients {low:.2f} to "
        f"{high:.2f}, {seeds}; published are {mean - other:.2f}"
    )
    ours, theirs = (
        float(np.mean([100 * np.std(predicted(row), ddof=1) for row in side]))
        for side in zip(*pairs, strict=True)
    )
    narrow = REPRODUCED if ours / theirs < (1 + deviation / usual) / 2 else NOT
    spread = (
        f"{ours:.2f} with prototypes, {theirs:.2f} alone, {seeds}; published are {deviation:.2f} "
        f"and {usual:.2f}: see the trap below"
    )
    return [("gain over clients alone", word, gain), ("spread of clients", narrow, spread)]


def _tables(rows: list[Row]) -> list[str]:
    parts = []
    for heading, whole, own in versions(rows, FULL, QUICK):
        words = [] if whole else [SHORT, *_order(own)]
        parts += [heading, *words, table(lines(own))]
        if trap := trapped(own):
            parts += [TRAP if whole else TRAP_AGAIN, table(trap)]
    return parts


def _order(rows: list[Row]) -> list[str]:
    own = {name: chosen(rows, ways=WAYS[0], method=name) for name in METHODS}
    said = [f"{part}: {why}" for part, _, why in compared(own[BEST], own[ALONE])]
    return [*(f"- {line}." for line in (early(means(own), ORDER, QUICK), *said)), ""]


def lines(rows: list[Row]) -> list[tuple[str, ...]]:
    """Return a line a method and n: published, ours over clients, over seeds, cost."""
    found: list[tuple[str, ...]] = [
        ("n", "method", "predicts by", "published", "ours, over clients", "over seeds", "CPU s")
    ]
    for ways in WAYS:
        for method in METHODS:
            own = chosen(rows, ways=ways, method=method)
            if not own:
                continue
            mean, deviation = CLAIM.published[method][ways]
            for column, how in (("nearest", "prototypes"), ("heads", "head")):
                each = [unlisted(row[column]) for row in own if row[column] != "-"]
                if not each:
                    continue
                claimed = f"{mean:.2f} ± {deviation:.2f}" if each[0] == predicted(own[0]) else "-"
                seeds = f"{shown([float(np.mean(one)) for one in each])} ({len(each)})"
                line = (claimed, over_clients(each), seeds, seconds(own))
                found.append((str(ways), f"`{method}`", how, *line))
    return found


def trapped(rows: list[Row]) -> list[tuple[str, ...]]:
    """Return FedProto's mean and deviation per client, and as the published code counts."""
    found: list[tuple[str, ...]] = [
        ("n", "predicts by", "per client", "as the code counts", "published")
    ]
    for ways in WAYS:
        own = chosen(rows, ways=ways, method=BEST)
        for place, (column, how) in enumerate((("heads", "head"), ("nearest", "prototypes"))):
            each = [unlisted(row[column]) for row in own]
            counted = [
                running(unlisted(r["heads"]), unlisted(r["nearest"]), _tested(r))[place]
                for r in own
            ]
            mean, deviation = CLAIM.published[BEST][ways]
            claimed = f"{mean:.2f} ± {deviation:.2f}" if how == "prototypes" else "-"
            if own:
                said = over_clients(each), over_clients(counted)
                found.append((str(ways), how, *said, claimed))
    return found if len(found) > 1 else []


def _tested(row: Row) -> list[int]:
    return [int(one) for one in row["tested"].split()]


command = writing(page, PAGE, ROWS)


if __name__ == "__main__":
    typer.run(command)
