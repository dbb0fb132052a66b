"""What the words of a report mean: of those that a page shows."""

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from ..score import Score


@dataclass(frozen=True)
class Word:
    """A word, what it means, and by which pattern it is found in a page."""

    name: str
    text: str
    pattern: str


WORDS = (
    Word(
        "±",
        "One standard deviation: over seeds (sample) where runs differ only in their seed, over "
        "clients otherwise.",
        "±",
    ),
    Word(
        "worst",
        "Mean of the worst tenth of the clients: what a mean over all of them hides.",
        r"\bworst\b",
    ),
    Word(
        "ECE",
        "Calibration error: how far models' confidence is from their accuracy, in 15 bins of "
        "confidence, mean over clients; 0 is best.",
        r"\bECE\b|calibration error",
    ),
    Word(
        "Traffic",
        "Serialised payload of the records the clients sent (up) and received (down), without "
        "transport overhead.",
        r"\bTraffic\b|\bpayload\b|\bbytes\b",
    ),
    Word(
        "Seconds",
        "Wall-clock time of the simulation on the machine that ran it, not of a deployment.",
        r"\bseconds\b|\bWall-clock\b",
    ),
    Word(
        "Virtual seconds",
        "Time that it would take on the clients' devices, as <code>system</code> describes them.",
        r"\bvirtual s",
    ),
    Word(
        "Weight",
        "Row i, column j: the share of client j's knowledge in what client i learns from; a row "
        "sums to 1.",
        r"\bmixing weights\b",
    ),
    Word(
        "Effective neighbours",
        "To how many equally weighted sources the mixing weights amount: 1 = a client learns from "
        "one source alone, the number of clients = from all alike.",
        r"\beffective neighbours\b",
    ),
    Word(
        "EPD",
        "Estimated probability distribution: the class shares that a client's knowledge says it "
        "has, as KnFu estimates them.",
        r"\bEPDs?\b",
    ),
    Word(
        "Pareto front",
        "Those that no other one beats: none is as cheap and as good, and better in one.",
        r"\bPareto\b",
    ),
    Word(
        "Epsilon",
        "What a client's protection has spent of differential privacy: lower hides more.",
        r"\bepsilon\b",
    ),
    Word("Asked", "Labels that were asked for and given at the start of the cycle.", r"\basked\b"),
    Word(
        "Imbalance",
        "Labels of the most frequent class to those of the rarest, all clients together; ∞ where "
        "a class has none.",
        r"\bimbalance\b",
    ),
    Word("Absent", "Classes that a client has no label of, mean over clients.", r"\babsent\b"),
    Word(
        "Diverged",
        "Clients whose models, or what these predict, are not finite; scores are what such "
        "models reach.",
        r"\bdiverged\b",
    ),
    Word(
        "Rejected",
        "Replies that were lost, or not what was asked for: they enter no sum. Reasons are in "
        "<code>log.txt</code>.",
        r"\brejected\b",
    ),
    Word(
        "Digest",
        "Fingerprint of the final models. The same command with the same versions on a CPU gives "
        "the same one.",
        r"\bDigests?\b",
    ),
)

OFFICIAL = (
    "Accuracy under the client's own label distribution: its recall on each class of the official "
    "test split, weighted by the class's share of the client's data. With "
    "<code>data.test=local</code>: its accuracy on test samples of the client's own. It says how "
    "well a model serves its owner."
)


def scored(score: Score) -> tuple[Word, ...]:
    """Return the words of what the task is measured by."""
    name = score.label or score.metric.upper()
    last = (
        "The last round counts; the best round is shown beside it only, because choosing it looks "
        "at the test split."
    )
    local, overall = (
        rf"{re.escape(name)} {which}|\b{which} {score.metric}" for which in ("local", "global")
    )
    if score.prefix == "alma":
        return (
            Word(
                "ALMA",
                "Average local model accuracy: the mean over clients of the accuracy of each "
                f"client's own model. {last}",
                r"\bALMA\b",
            ),
            Word("local", OFFICIAL, local),
            Word(
                "global",
                "Accuracy on the whole official test split. It says what a model knows of classes "
                "its owner lacks.",
                overall,
            ),
        )
    return (
        Word(
            name,
            f"The mean over clients of the {escape(name)} of each client's own model; "
            f"{'more' if score.more else 'less'} is better. {last}",
            re.escape(name),
        ),
        Word(
            "local",
            "Under the client's own distribution: samples of the official test split weigh as much "
            "as the client's histogram over bins of the target says. It says how well a model "
            "serves its owner.",
            local,
        ),
        Word("global", "On the whole official test split.", overall),
    )


def glossary(page: str, score: Score) -> list[tuple[str, Markup]]:
    """Return the words that a page shows, with what they mean.

    Parameters
    ----------
    page : str
        HTML. Attributes, styles, commands and configurations (``pre``) do not count.
    score : Score
        What the task is measured by.

    Examples
    --------
    >>> from fedkd.score import ALMA
    >>> [name for name, _ in glossary("<p>ALMA local 80 % ± 1</p><pre>bytes</pre>", ALMA)]
    ['ALMA', 'local', '±']
    """
    shown = re.sub(r"<(style|pre)\b.*?</\1>|<[^>]+>", " ", page, flags=re.S)
    every = (*scored(score), *WORDS)
    found = [word for word in every if re.search(word.pattern, shown, re.I)]
    return [(word.name, Markup(word.text)) for word in found]  # our own words
