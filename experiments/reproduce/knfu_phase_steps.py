"""How far clients step on their teacher, and what that makes of KnFu beside FedMD."""

from itertools import product

from ...report.markdown import table
from .knfu_phase_compared import Rows
from .knfu_phase_plan import AS_IS, LIKES, PAIRS, SKEWED, STEPPED, STEPS
from .paired import PLACES, apart, spread, told

FITS = "0.05"
"""The rate of the fit, which the teacher's is unless told otherwise."""

RATES = {AS_IS: FITS} | {step: step.partition("=")[2] for step in STEPS}
SAID = STEPS[1]
"""The step that the verdict is about."""

HEAD = f"""## How far clients step on their teacher

Everything above is with one learning rate for private data and for the teacher, the default {FITS}.
FedMD's own code has Adam at 0.001 for both. With {STEPPED[0]} samples a client and smaller steps on
the teacher (`distil.lr`): local / global accuracy in %, mean over seeds.
"""

MINUS = """
By how many points KnFu is above FedMD where both exchange the same and step as far:
"""


def verdicts(rows: Rows) -> dict[str, tuple[str, str]]:
    """Return what is left of KnFu's lead under skew where clients step less far."""
    found = {}
    for (what, (ours, theirs)), (place, column) in product(LIKES.items(), PLACES.items()):
        pairs = [
            (f"alpha {alpha:g}", rows.paired(ours, theirs, column, STEPPED[0], alpha, SAID))
            for alpha in SKEWED
        ]
        found[f"The same with smaller steps on the teacher (`{SAID}`), {what}, {place}"] = told(
            pairs
        )
    return found


def section(rows: Rows, head: str = HEAD) -> str:
    """Return the section, which begins with `head`; "" while nothing of it has been run."""
    samples, alphas = STEPPED
    heads = ("method", "rate", *(f"alpha {alpha:g}" for alpha in alphas))
    if not any(rows.of("fedmd", samples, alpha, step) for alpha in alphas for step in STEPS):
        return ""
    means, minus = [heads], [("exchanged", *heads[1:])]
    for method, (step, rate) in product(PAIRS, RATES.items()):
        cells = [
            " / ".join(
                spread([*rows.values(method, column, samples, alpha, step).values()]).split(" ")[0]
                for column in PLACES.values()
            )
            for alpha in alphas
        ]
        means.append((f"`{method}`", rate, *cells))
    for (what, pair), (step, rate) in product(LIKES.items(), RATES.items()):
        cells = [
            " / ".join(apart(rows.paired(*pair, c, samples, a, step)) for c in PLACES.values())
            for a in alphas
        ]
        minus.append((what, rate, *cells))
    return f"{head}\n{table(means)}{MINUS}\n{table(minus)}"
