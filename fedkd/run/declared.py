"""What an objective declares of itself: what nothing could be made of is refused."""

from collections.abc import Callable, Mapping
from typing import Any

from ..clients import Parts
from ..config import RunConfig
from ..config.overrides import merge
from ..errors import ConfigError
from ..knowledge import CLASS_SCORES, kind_named


def check_declared(config: RunConfig, parts: Parts) -> None:
    """Refuse an objective that declares what cannot be, and parts for kinds that there are not."""
    if (problem := undeclarable(parts.objective)) is not None:
        raise ConfigError("objective", config.objective["name"], problem)
    others: list[tuple[str, Any, Any]] = [
        ("attack", config.attack["name"], parts.attack),
        ("compress", config.compress["name"], parts.codec),
        *(("privacy", name, mechanism) for name, mechanism in parts.privacy.mechanisms.items()),
    ]
    for key, name, part in others:
        if (problem := no_kinds(part.kinds)) is not None:
            raise ConfigError(key, name, f"declares kinds={part.kinds!r}: {problem}")
    check_trained_with(config, parts)


def undeclarable(objective: Any) -> str | None:
    """Say which declaration of an objective cannot be, and why; None if all can."""
    for name, problem in DECLARED.items():
        try:
            value = getattr(objective, name)
        except Exception as error:
            return f"declares {name}, which raises {type(error).__name__}: {error}"
        if (why := problem(value)) is not None:
            return f"declares {name}={value!r}: {why}"
    answers = (("tempers", objective.tempers, _no_bool), ("unused", objective.unused, _no_reasons))
    found = (
        misanswered(f"{name}({str(kind)!r})", method, kind, problem)
        for kind in objective.kinds or CLASS_SCORES
        for name, method, problem in answers
    )
    return next((why for why in found if why is not None), None)


def misanswered(
    name: str, method: Callable[[Any], Any], about: Any, problem: Callable[[Any], str | None]
) -> str | None:
    """Say what is wrong with what an objective answers, and whether it raises; None if nothing."""
    try:
        value = method(about)
    except Exception as error:
        return f"its {name} raises {type(error).__name__}: {error}"
    why = problem(value)
    return None if why is None else f"its {name} returns {value!r}: {why}"


def no_kinds(value: Any) -> str | None:
    """Say why something is no tuple of kinds, nor None.

    Examples
    --------
    >>> no_kinds(("logits",)), no_kinds("logits")
    (None, "must be None, for all, or a tuple of kinds such as ('soft_labels',)")
    """
    if value is None:
        return None
    if not value or not isinstance(value, tuple | list):
        return "must be None, for all, or a tuple of kinds such as ('soft_labels',)"
    try:
        for kind in value:
            kind_named(kind)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def no_layers(value: Any) -> str | None:
    """Say why something is no tuple of names of layers."""
    if isinstance(value, tuple | list) and all(isinstance(one, str) and one for one in value):
        return None
    return "must be a tuple of names of layers such as ('head',)"


def _no_bool(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be True or False"


def _no_count(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if whole else "must be a whole number of at least 1"


def _no_limit(value: Any) -> str | None:
    why = None if value is None else _no_count(value)
    return why and f"{why}, or None"


def _no_reasons(value: Any) -> str | None:
    texts = isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())
    return None if texts else "must be a dict of parameters and why each changes nothing"


DECLARED: dict[str, Callable[[Any], str | None]] = {
    "kinds": no_kinds,
    "layers": no_layers,
    "per_sample": _no_bool,
    "needs_labels": _no_bool,
    "remembers": _no_bool,
    "one_row": _no_bool,
    "most_rows": _no_limit,
    "tells_apart": _no_limit,
    "fewest": _no_count,
}
"""What an objective declares, and what says why a value cannot be."""


def check_trained_with(config: RunConfig, parts: Parts) -> None:
    """Refuse an objective that asks for a training that there is not."""
    own, problem = parts.objective.trained_with, ""
    if (
        not isinstance(own, Mapping)
        or not own.keys() <= {"optimizer", "lr"}
        or None in own.values()
    ):
        problem = "it is a mapping of optimizer, lr or both"
    else:
        try:
            merge(config, distil=dict(own))
        except ConfigError as error:
            problem = f"{error.key} {error.problem}"
    if problem:
        name = config.objective["name"]
        raise ConfigError("objective", name, f"has trained_with={own}: {problem}")
