"""What ``fedkd list strategies`` shows where only some are asked for: by what classes declare."""

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from ..plugins.loading import is_code
from ..plugins.table import SEAMS
from ..strategies.traits import Traits, traits
from .listing import item_of, print_items

NOTHING = "nothing"
"""What is exchanged where nothing is."""

Wanted = dict[str, Any]
"""What is asked for, by option; None: it does not matter."""

FITS: dict[str, Callable[[Traits, Any], bool]] = {
    "--exchange": lambda found, name: name in names(found),
    "--mixed-models": lambda found, wanted: found.mixed_models == wanted,
    "--transfer": lambda found, wanted: (found.transfer != "no") == wanted,
    "--personalised": lambda found, wanted: found.personalised == wanted,
    "--secure": lambda found, wanted: found.secure == wanted,
    "--task": lambda found, task: task in found.tasks,
}
"""Whether a method is what an option asks for."""


def names(found: Traits) -> set[str]:
    """Return what may be called a method's exchange: its name, or the kind of knowledge."""
    return {*found.exchanges, *found.exchanges.values()} or {NOTHING}


def show_chosen(what: str | None, name: str | None, wanted: Wanted, console: Console) -> None:
    """Print the strategies that are all that is wanted, or whether the one that is named is.

    Parameters
    ----------
    what, name : str, optional
        ``strategies``, and one of them or ``FILE:Class``; such a name alone will do.
    wanted : dict
        What is asked for, by the names of `FITS`; None where it does not matter.
    console : Console
        Where to print.

    Raises
    ------
    ConfigError
        If it is not strategies that are to be listed, or there is no such exchange or task.
    """
    wanted = {option: value for option, value in wanted.items() if value is not None}
    seam = SEAMS["strategies"]
    one = name if what == seam.name else what
    if what is None or (what != seam.name and not is_code(what) and what not in seam.shipped()):
        told = " ".join(map(_told, wanted.items()))
        if what is None:
            option, value = next(iter(wanted.items()))
            raise ConfigError(option, value, f"is for strategies; say: list {seam.name} {told}")
        raise ConfigError("list", what, f"{told} is for strategies", [seam.name])
    classes = seam.shipped() if one is None else {one: seam.resolve(one)}
    found = {each: traits(cls) for each, cls in classes.items()}
    _known(wanted, found.values())
    fit = {each: classes[each] for each in classes if not _against(found[each], wanted)}
    print_items([item_of(each, cls, seam.from_run) for each, cls in fit.items()], console)
    if not fit:
        against = wanted.items() if one is None else _against(found[one], wanted)
        who = "No strategy is" if one is None else f"{one} is not"
        console.print(escape(f"{who}: {', '.join(map(_told, against))}"), soft_wrap=True)


def _against(found: Traits, wanted: Wanted) -> list[tuple[str, Any]]:
    return [(option, value) for option, value in wanted.items() if not FITS[option](found, value)]


def _told(asked: tuple[str, Any]) -> str:
    """Return an option as it is given.

    Examples
    --------
    >>> _told(("--transfer", False)), _told(("--task", "regression"))
    ('--no-transfer', '--task regression')
    """
    option, value = asked
    if isinstance(value, bool):
        return option if value else option.replace("--", "--no-")
    return f"{option} {value}"


def _known(wanted: Wanted, found: Iterable[Traits]) -> None:
    """Refuse names that no exchange, kind of knowledge or task has."""
    allowed = {"--exchange": exchanges().union(*map(names, found)), "--task": tasks()}
    for option, known in allowed.items():
        if option in wanted and wanted[option] not in known:
            what = "task" if option == "--task" else "exchange or kind of knowledge"
            raise ConfigError(option, wanted[option], f"no such {what}", known)


def exchanges() -> set[str]:
    """Return the names of all exchanges and kinds of knowledge that are shipped."""
    shipped = SEAMS["exchanges"].shipped()
    return {*shipped, *(cls.kind for cls in shipped.values()), NOTHING}


def tasks() -> set[str]:
    """Return the names of all tasks that are shipped."""
    return set(SEAMS["tasks"].shipped())
