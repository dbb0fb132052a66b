"""What the rows say of each part of KnFu's conclusion."""

from collections.abc import Callable, Sequence

from .claims import NOT, ORDERING, UNTRIED
from .knfu_phase_compared import Rows, above, apart
from .knfu_phase_plan import ALONE, ALPHAS, SIZES

SKEWED, LARGE = ALPHAS[:3], SIZES[-2:]
BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"
Pairs = list[tuple[str, list[float]]]


def verdicts(rows: Rows) -> list[str]:
    """Return a line a part: what was claimed, the verdict, and why."""
    parts: dict[str, Callable[[Rows], tuple[str, str]]] = {
        "With large, skewed local data training alone beats FedMD": _alone,
        "Under skew KnFu beats FedMD, soft labels": _soft,
        "Under skew KnFu's weights beat FedMD over logits, too": _logits,
        "Fusion gains more over training alone, the less clients differ": _gains,
    }
    lines = [(what, *judge(rows)) for what, judge in parts.items()]
    return [f"- {what}: **{word}** ({why})." for what, word, why in lines]


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


def compared(differences: Sequence[float]) -> str:
    """Say where differences, one a seed, are by their 95 % interval.

    Examples
    --------
    >>> compared([1.0, 1.1, 0.9]), compared([-1.0, -1.1, -0.9]), compared([1.0, -1.0])
    ('better', 'worse', 'not told apart')
    """
    if above(differences):
        return BETTER
    return WORSE if above([-one for one in differences]) else UNDECIDED


def told(pairs: Pairs) -> tuple[str, str]:
    """Return the verdict on what is claimed of every cell: no number is, so the order decides.

    Examples
    --------
    >>> told([("a", [1.0, 1.1, 0.9]), ("b", [])])
    ('ordering reproduced', 'better in 1 cells of 1 with three seeds: a +1.0 ± 0.2')
    >>> told([("a", [])])[0]
    'not tried'
    """
    tried = [(where, found) for where, found in pairs if len(found) >= 3]
    if not tried:
        seeds = max((len(found) for _, found in pairs), default=0)
        return UNTRIED, f"at most {seeds} seeds of {len(pairs)} cells have been run"
    by: dict[str, list[str]] = {}
    for where, found in tried:
        by.setdefault(compared(found), []).append(f"{where} {apart(found)}")
    holds = len(by.get(BETTER, [])) > len(tried) / 2 and WORSE not in by
    words = [
        f"{word} in {len(by[word])} cells" for word in (BETTER, WORSE, UNDECIDED) if word in by
    ]
    shown = "; ".join(by.get(WORSE) or by.get(BETTER) or by[UNDECIDED])
    why = f"{', '.join(words)} of {len(tried)} with three seeds: {shown}"
    return (ORDERING if holds else NOT), why
