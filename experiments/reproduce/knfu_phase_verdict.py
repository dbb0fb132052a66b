"""What the rows say of each part of KnFu's conclusion."""

from itertools import product
from statistics import fmean

from .claims import UNTRIED
from .knfu_phase_compared import Rows
from .knfu_phase_plan import ALONE, ALPHAS, LIKES, SIZES, SKEWED
from .knfu_phase_steps import verdicts as smaller_steps
from .paired import PLACES, Pairs, listing, told

LARGE = SIZES[-2:]

ASKED = {"local": "on the clients' own mixes", "global": "on all classes"}
"""Where accuracies are compared, in words."""

UNDER_SKEW = {
    "KnFu beats FedMD, soft labels": LIKES["soft labels"],
    "KnFu's weights with beta 1 (10 is the default) beat FedMD over logits, too": LIKES["logits"],
    "KnFu beats training alone": ("knfu", ALONE),
}
"""Who is said to beat whom; the last is not claimed, and tells whether KnFu fuses at all."""


def verdicts(mnist: Rows, cifar: Rows) -> list[str]:
    """Return a line a part and data set: what was claimed, the verdict, and why."""
    there = {f"CIFAR-10: {what}": said for what, said in parts(cifar).items()}
    untried = {"Any of it on CIFAR-10": (UNTRIED, "no run")}
    return [*listing(parts(mnist) | (there if cifar.all else untried)), _fuses(mnist)]


def parts(rows: Rows) -> dict[str, tuple[str, str]]:
    """Return each part of the claim with its verdict, and why."""
    large = "With 500 samples or more and alpha up to 0.3 training alone beats FedMD"
    found = {f"{large}, {ASKED['local']}": _over(rows, ALONE, "fedmd", "local", LARGE)}
    for (what, pair), (place, column) in product(UNDER_SKEW.items(), PLACES.items()):
        found[f"Under skew (alpha up to 0.3) {what}, {ASKED[place]}"] = _over(
            rows, *pair, column, SIZES
        )
    gains = "KnFu gains more over training alone at alpha 10 than at 0.05"
    found[f"{gains}, {ASKED['local']}"] = _gains(rows)
    return found | smaller_steps(rows)


def _fuses(rows: Rows) -> str:
    """Say how far KnFu as published is from training alone under skew."""
    found = [
        abs(fmean(differences))
        for n, a, column in product(SIZES, SKEWED, PLACES.values())
        if (differences := rows.paired("knfu", ALONE, column, n, a))
    ]
    if not found:
        return ""
    return (
        f"\nUnder skew KnFu as published hardly fuses: in {len(found)} numbers (cells, local and "
        f"global) its mean is at most {max(found):.1f} points from that of training alone, so what "
        "it is above FedMD there, training alone is, too."
    )


def _over(rows: Rows, one: str, other: str, column: str, sizes: tuple[int, ...]) -> tuple[str, str]:
    cells = product(sizes, SKEWED)
    return told([(_at(n, a), rows.paired(one, other, column, n, a)) for n, a in cells])


def _gains(rows: Rows) -> tuple[str, str]:
    """Compare KnFu's gain under the least skew with that under the strongest, seed by seed."""
    found: Pairs = []
    for n in SIZES:
        low, high = (_gain(rows, n, alpha) for alpha in (ALPHAS[0], ALPHAS[-1]))
        found.append((f"{n} samples", [high[seed] - low[seed] for seed in high if seed in low]))
    return told(found)


def _gain(rows: Rows, samples: int, alpha: float) -> dict[int, float]:
    own, alone = (rows.values(name, "local", samples, alpha) for name in ("knfu", ALONE))
    return {seed: own[seed] - alone[seed] for seed in own if seed in alone}


def _at(samples: int, alpha: float) -> str:
    return f"{samples} samples, alpha {alpha:g}"
