"""What the numbers of a comparison mean, and what is not as it should be."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .metrics import Metric
from .reader import Run
from .significance import LEVEL, Ranks

FEW = 3
"""Seeds below which a spread says next to nothing."""

NAMED = 5
"""Run directories that a line names; of more it has the number."""

TESTS = {
    "t": "two-sided paired t test",
    "permutation": "two-sided paired permutation test (signs of the differences)",
}


def meaning(
    metric: Metric, table: pd.DataFrame, baseline: str | None, test: str, ranks: Ranks | None
) -> Iterator[str]:
    """Yield what the columns are."""
    best = {
        True: "highest",
        False: "lowest, which is best",
        None: "none, and no ranks, as it is not known whether more is better",
    }
    yield (
        f"{metric.title}: mean ± sample standard deviation over seeds; intervals: Student's, 95 %. "
        f"Bold: {best[metric.more]}."
    )
    if baseline is not None:
        yield (
            f"Δ: minus {baseline}, paired by seed. p: {TESTS[test]}, Holm's correction over "
            f"{table['p'].notna().sum()} tests. d: mean of the differences by their deviation."
        )
    if ranks is not None:
        order = ", ".join(f"{arm} {rank:.2f}" for arm, rank in ranks.average.items())
        alike = "; ".join(", ".join(names) for names in ranks.alike()) or "none"
        friedman = "" if np.isnan(ranks.p) else f" Friedman's test: p = {ranks.p:.3g}."
        few = " Few settings: ranks of ten and more are worth a test." * (ranks.settings < 10)
        yield (
            f"Mean rank over {ranks.settings} settings, 1 is best: {order}.{friedman} Critical "
            f"difference (Nemenyi, 5 %): {ranks.critical:.2f}; not told apart: {alike}.{few}"
        )


def left_out(runs: Sequence[Run], unstarted: Sequence[Path]) -> Iterator[str]:
    """Yield which runs do not count, and which count although something went wrong."""
    yield from listed("left out, unfinished", [run.path for run in runs if not run.finished])
    yield from without_rounds(unstarted)
    diverged = [run.path for run in runs if run.finished and run.summary["diverged"]]
    yield from listed("counted, with clients that diverged", diverged)


def without_rounds(paths: Sequence[Path]) -> Iterator[str]:
    """Yield which runs have no table: they failed early, or have just begun."""
    yield from listed("left out, without a first round", paths)


def listed(what: str, paths: Sequence[Path]) -> Iterator[str]:
    """Yield a line that counts and names run directories, if there are any."""
    if paths:
        yield f"{len(paths)} {what}: {shown([*map(str, paths)], ', ')}"


def doubts(
    table: pd.DataFrame,
    values: pd.DataFrame,
    runs: Sequence[Run],
    metric: str,
    baseline: str | None,
    test: str,
) -> Iterator[str]:
    """Yield where values are missing, seeds few or unequal, or differences without spread."""
    lacking = [runs[place].path for place in values.loc[values["value"].isna(), "run"]]
    yield from listed(f"left out, without {metric}", lacking)
    few = table[table["seeds"] < FEW]
    if len(few):
        which = _these(few)
        yield f"fewer than {FEW} seeds, so hardly a spread, and no test worth its name: {which}"
    arms, settings = values["arm"].nunique(), values["setting"].nunique()
    if len(table) < arms * settings:
        there = f"{len(table)} of {arms * settings}"
        yield f"not every arm is in every setting ({there}): ranks are over those that have all"
    if baseline is not None:
        yield from _unpaired(table, baseline)
        yield from _untestable(table[table["arm"] != baseline], test)
        yield from _other_data(values, runs)


def _unpaired(table: pd.DataFrame, baseline: str) -> Iterator[str]:
    """Yield which arms have other seeds than the baseline."""
    seeds = table[table["arm"] == baseline].set_index("setting")["seeds"]
    most = np.maximum(table["seeds"], table["setting"].map(seeds).fillna(0))
    odd = table[(table["arm"] != baseline) & (table["pairs"] < most)]
    if len(odd):
        what = f"seeds without a pair are in the means and not in the differences to {baseline}"
        yield f"{what}: {_these(odd)}"


def _untestable(compared: pd.DataFrame, test: str) -> Iterator[str]:
    """Yield where a test has no answer, or cannot have one that is small."""
    still = compared[(compared["pairs"] > 1) & compared["effect"].isna()]
    if len(still):
        yield f"differences without spread have no effect size, and no t test: {_these(still)}"
    pairs = compared.loc[compared["pairs"] > 1, "pairs"].min()
    if test == "permutation" and 2.0 ** (1 - pairs) > 1 - LEVEL:
        yield f"a permutation test of {pairs:.0f} pairs has no p below {2.0 ** (1 - pairs):.3g}"


def _other_data(values: pd.DataFrame, runs: Sequence[Run]) -> Iterator[str]:
    """Yield the seeds that have dealt arms other data: pairs have only the seed in common."""
    odd = []
    for (setting, seed), pair in values.groupby(["setting", "seed"], sort=False):
        known = [dealt for place in pair["run"] if (dealt := runs[place].histogram) is not None]
        if not all(np.array_equal(known[0], dealt) for dealt in known):
            odd.append(f"{seed} ({setting})" if setting else str(seed))
    if odd:
        yield f"arms do not share the data that a seed deals: seed {shown(odd, ', ')}"


def _these(rows: pd.DataFrame) -> str:
    names: Any = [
        f"{row.arm} ({row.setting})" if row.setting else row.arm for row in rows.itertuples()
    ]
    return shown(names)


def shown(names: Sequence[str], between: str = "; ") -> str:
    """Return the first names, and how many there are beyond.

    Examples
    --------
    >>> shown(["a", "b"], ", "), shown([*"abcdefg"])
    ('a, b', 'a; b; c; d; e and 2 more')
    """
    more = f" and {len(names) - NAMED} more" * (len(names) > NAMED)
    return between.join(names[:NAMED]) + more
