"""What the rows of the study of objectives say: differences to `kl`, paired, with intervals."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

from .cells import Row
from .objectives import label
from .objectives_studies import Setting, Study

AGAINST = "kl"
METRICS = ("local", "overall")

Numbers = dict[str, dict[int, dict[Setting, list[float]]]]
"""A way to learn -> seed -> setting -> its accuracies in percent."""


@dataclass(frozen=True)
class Finding:
    """How one way to learn differs from `AGAINST`, in points of accuracy.

    Parameters
    ----------
    name : str
        Objective, and guard.
    labels : bool
        Whether it saw the transfer set's labels.
    points : array
        ``[seeds, settings, metrics]``, differences of the same seed and setting.
    accuracy : array
        Of the same shape, its own accuracies in percent.
    """

    name: str
    labels: bool
    points: np.ndarray
    accuracy: np.ndarray

    @property
    def mean(self) -> float:
        """Mean of all."""
        return float(self.points.mean())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean over seeds; None for fewer than three."""
        each = self.points.mean(axis=(1, 2))
        if len(each) < 3 or self.name == AGAINST:
            return None
        low, high = ttest_1samp(each, 0).confidence_interval(0.95)
        return float(low), float(high)


def findings(study: Study, rows: list[Row]) -> list[Finding]:
    """Return what the rows say of the settings that count, best first.

    Only seeds that have all of these settings are paired; who has no such seed is left out.
    """
    numbers, settings = by_name(study, rows), counted(study, rows)
    labels = {label(row): row["labels"] for row in rows}
    whole = {
        name: {seed: [own[s] for s in settings] for seed, own in _whole(seeds, settings).items()}
        for name, seeds in numbers.items()
    }
    base = whole.get(AGAINST, {})
    found = []
    for name, own in whole.items():
        if seeds := [seed for seed in sorted(own) if seed in base]:
            accuracy = np.array([own[seed] for seed in seeds])
            points = accuracy - np.array([base[seed] for seed in seeds])
            found.append(Finding(name, labels[name], points, accuracy))
    return sorted(found, key=lambda one: -one.mean)


def counted(study: Study, rows: list[Row]) -> list[Setting]:
    """Return the settings that count: as many of the first as leave the most finished runs.

    All of them once the study is done; before that, those that most runs are in.
    """
    numbers = by_name(study, rows)

    def finished(count: int) -> int:
        seeds = [len(_whole(own, study.settings[:count])) for own in numbers.values()]
        return count * sum(seeds)

    return study.settings[: max(range(1, len(study.settings) + 1), key=finished)]


def by_name(study: Study, rows: list[Row]) -> Numbers:
    """Return the accuracies of all runs in full."""
    numbers: Numbers = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row["rounds"] == study.rounds:
            setting = (row["models"], row["alpha"], row["strategy"])
            numbers[label(row)][row["seed"]][setting] = [100 * row[m] for m in METRICS]
    return numbers


def _whole(
    seeds: dict[int, dict[Setting, list[float]]], settings: list[Setting]
) -> dict[int, dict[Setting, list[float]]]:
    """Return the seeds that have all settings."""
    return {seed: own for seed, own in seeds.items() if own.keys() >= set(settings)}
