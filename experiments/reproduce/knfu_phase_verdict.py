"""What the rows say of each part of KnFu's conclusion."""

from collections.abc import Callable

from .knfu_phase_compared import Rows
from .knfu_phase_plan import ALONE, ALPHAS, SIZES
from .paired import Pairs, listing, told

SKEWED, LARGE = ALPHAS[:3], SIZES[-2:]


def verdicts(rows: Rows) -> list[str]:
    """Return a line a part: what was claimed, the verdict, and why."""
    parts: dict[str, Callable[[Rows], tuple[str, str]]] = {
        "With large, skewed local data training alone beats FedMD": _alone,
        "Under skew KnFu beats FedMD, soft labels": _soft,
        "Under skew KnFu's weights beat FedMD over logits, too": _logits,
        "Fusion gains more over training alone, the less clients differ": _gains,
    }
    return listing({what: judge(rows) for what, judge in parts.items()})


def _alone(rows: Rows) -> tuple[str, str]:
    cells = [(n, a) for n in LARGE for a in SKEWED]
    return told([(_at(n, a), rows.paired(ALONE, "fedmd", "local", n, a)) for n, a in cells])


def _soft(rows: Rows) -> tuple[str, str]:
    return _everywhere(rows, "knfu", "fedmd, soft labels")


def _logits(rows: Rows) -> tuple[str, str]:
    return _everywhere(rows, "knfu, logits", "fedmd")


def _everywhere(rows: Rows, one: str, other: str) -> tuple[str, str]:
    cells = [(n, a) for n in SIZES for a in SKEWED]
    return told([(_at(n, a), rows.paired(one, other, "local", n, a)) for n, a in cells])


def _gains(rows: Rows) -> tuple[str, str]:
    """Compare KnFu's gain under the least skew with that under the strongest, seed by seed."""
    found: Pairs = []
    for n in SIZES:
        low, high = (rows.paired("knfu", ALONE, "local", n, a) for a in (ALPHAS[0], ALPHAS[-1]))
        pairs = zip(high, low, strict=False)
        found.append((f"{n} samples", [much - little for much, little in pairs]))
    return told(found)


def _at(samples: int, alpha: float) -> str:
    return f"{samples} samples, alpha {alpha:g}"
