"""The rows of the table of all methods, and the eight settings from which each of them is tuned.

Four learning rates first: where clients learn from a teacher the one on it, else the one on their
own samples. Then, with the best of these, four other values of the method's main parameter. That is
the first number with a point that its constructor takes, else its first whole number, but for
`MAIN`; each value is twice the default and so on, or half of what lacks to 1 where the class
refuses that. A method without such a parameter has four learning rates more.
"""

from functools import cache
from typing import Any

from ...config.hints import signature
from ...errors import FedkdError
from ...plugins.table import SEAMS
from ...rounds.protocol import Strategy
from ...strategies.active import ActiveLearning
from ...strategies.traits import traits

RATES = {"fit.lr": (0.05, 0.01, 0.02, 0.1), "distil.lr": (0.05, 0.02, 0.01, 0.005)}
"""Learning rates; the first is the default."""

MORE_RATES = {"fit.lr": (0.005, 0.03, 0.07, 0.2), "distil.lr": (0.0025, 0.007, 0.03, 0.1)}
"""Those of methods that have no main parameter."""

FACTORS = (2, 1 / 2, 4, 1 / 4, 8, 1 / 8, 1 / 16)
"""By which a default is multiplied, until there are four values."""

SETTINGS: dict[str, dict[str, Any]] = {
    "scarlet": {"strategy.duration": 2},
    "knfu, logits": {"strategy.exchange": "logits", "strategy.beta": 1.0},
}
"""Overrides of rows, by their names: a strategy's, and after a comma what is special."""

MAIN: dict[str, str | None] = {
    "fedaux": None,  # its numbers are those of its noise
    "fedmrl": "dim",  # clip keeps it from diverging
    "fedrep": None,  # more epochs of the body are none of the head
    "geometric_median": None,  # what keeps it from dividing by 0
}
"""The main parameter where it is not the one that the rule finds."""

NOTES = {
    "scarlet": "`strategy.duration=2`: over ten rounds of the whole transfer set, the published "
    "duration of 50 would keep the teacher of round 1.",
    "knfu, logits": "`strategy.exchange=logits strategy.beta=1`: ours; the published form mixes "
    "soft labels, with beta 10.",
    "ktpfl": "Without T² in its loss, as in the official code.",
    "dafkd": "Without T² in its loss: that belongs to the paper's learning rate of 1e-5.",
    "fedbabu": "What is measured is fine-tuned for five epochs, as officially.",
    "fedhkd": "Its noise has a standard deviation of 2, as in the official code.",
}
"""Footnotes of rows."""

LABELLED = "May look at the transfer set's labels."


def left_out(cls: type[Strategy]) -> str | None:
    """Say why a method cannot be under the same conditions as all others; None if it can.

    Examples
    --------
    >>> left_out(SEAMS["strategies"].resolve("fedbn"))
    'nothing of its own with `mlp`; its model is `resnet8`'
    """
    if issubclass(cls, ActiveLearning):
        return "with a part of the labels only"
    if cls.usual_model != Strategy.usual_model:
        return f"nothing of its own with `{Strategy.usual_model}`; its model is `{cls.usual_model}`"
    return None


@cache
def names() -> tuple[str, ...]:
    """Return the names of all rows."""
    shipped = SEAMS["strategies"].shipped().items()
    return tuple(sorted({*(name for name, cls in shipped if not left_out(cls)), *SETTINGS}))


def method(name: str) -> str:
    """Return the strategy that a row is about."""
    return name.partition(",")[0]


@cache
def main_parameter(name: str) -> tuple[str, tuple[float, ...]] | None:
    """Return the main parameter of a row's method and its four values, the default not among them.

    Examples
    --------
    >>> main_parameter("knfu"), main_parameter("apfl"), main_parameter("fedavg")
    (('beta', (20.0, 5.0, 40.0, 2.5)), ('mix', (1.0, 0.25, 0.875, 0.125)), None)
    """
    cls = SEAMS["strategies"].resolve(method(name))
    found = {key: one.default for key, one in signature(cls).items() if key != "temperature"}
    numbers = {key: d for key, d in found.items() if type(d) in (float, int) and d}
    first = sorted(numbers, key=lambda key: isinstance(numbers[key], int))
    key = MAIN.get(method(name), next(iter(first), None))
    if key is None:
        return None
    default = SETTINGS.get(name, {}).get(f"strategy.{key}", numbers[key])
    values = tuple(others(method(name), key, default))
    return (key, values) if len(values) == 4 else None


def others(strategy: str, key: str, default: float) -> list[float]:
    """Return up to four other values of a parameter, those that the class accepts."""
    found: list[float] = []
    for factor in FACTORS:
        nearer = [1 - (1 - default) / factor] if 0 < default < 1 else []
        for value in (default * factor, *nearer):
            one = max(1, round(value)) if isinstance(default, int) else round(value, 6)
            if one not in (default, *found) and _accepted(strategy, key, one):
                found.append(one)
                break
    return found[:4]


def _accepted(strategy: str, key: str, value: float) -> bool:
    try:
        SEAMS["strategies"].create({"name": strategy, key: value})
    except FedkdError:
        return False
    return True


@cache
def rate_key(name: str) -> str:
    """Return which learning rate a row's method is tuned by.

    How far clients step on their teacher decides more than how far on their own samples (the page
    of KnFu's phase diagram).

    Examples
    --------
    >>> rate_key("knfu"), rate_key("fedavg"), rate_key("fedproto"), rate_key("local")
    ('distil.lr', 'fit.lr', 'fit.lr', 'fit.lr')
    """
    lessons_on_samples = traits(SEAMS["strategies"].resolve(method(name))).returns == "after"
    return "distil.lr" if lessons_on_samples else "fit.lr"


def setting(name: str, rate: float | None = None, value: float | None = None) -> str:
    """Return the overrides of a row, with a learning rate and a value of its main parameter.

    Examples
    --------
    >>> setting("fedavg"), setting("scarlet", 0.1), setting("knfu", value=5.0)
    ('-', 'strategy.duration=2 distil.lr=0.1', 'strategy.beta=5.0')
    """
    found = dict(SETTINGS.get(name, {}))
    key = rate_key(name)
    if rate not in (None, RATES[key][0]):
        found[key] = rate
    main = main_parameter(name)
    if main is not None and value is not None:
        found[f"strategy.{main[0]}"] = value
    return " ".join(f"{key}={one}" for key, one in found.items()) or "-"


def first_settings(name: str) -> list[str]:
    """Return the settings that are tried first."""
    return [setting(name, rate) for rate in RATES[rate_key(name)]]


def next_settings(name: str, best: str) -> list[str]:
    """Return the settings that are tried next, `best` being the best of the first."""
    main = main_parameter(name)
    if main is None:
        return [setting(name, rate) for rate in MORE_RATES[rate_key(name)]]
    rate = next(rate for rate in RATES[rate_key(name)] if setting(name, rate) == best)
    return [setting(name, rate, value) for value in main[1]]
