"""What Python gives of a study, as a study's file can hold it."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Any

from ...errors import ConfigError

NOT_FOR_RUNS = {
    "resume": "a study's runs are its own; give fedkd.study its folder, or a run to fedkd.resume",
    "run_dir": "a study has one folder; give run_dir by itself",
}
"""Keys that no run of a study may have, and why."""


def written(key: str, value: Any) -> Any:
    """Return a value as YAML has it.

    Parameters
    ----------
    key : str
        What it is of.
    value : object
        Numbers of numpy are Python's, a class or a function that can be imported is
        ``module:Name``, ranges and tuples are lists.

    Raises
    ------
    ConfigError
        If it is an object that no file can hold.

    Examples
    --------
    >>> from fedkd.strategies.knfu import KnFu
    >>> written("grid", {"strategy": (KnFu, "local"), "seed": range(2)})
    {'strategy': ['fedkd.strategies.knfu:KnFu', 'local'], 'seed': [0, 1]}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): written(_inner(key, name), one) for name, one in value.items()}
    if isinstance(value, list | tuple | range):
        return [written(key, one) for one in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if name := _imported_as(value):
        return name
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    problem = (
        f"is a Python object ({kind}), which a study's file cannot hold; give a name, FILE:Class, "
        "module:Class or a file of data, or call simulate for each run and compare() for all"
    )
    raise ConfigError(key, value, problem)


def content_of(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a study's file would have.

    Parameters
    ----------
    given : mapping
        ``grid``, ``seeds``, ...; what is None is left out.
    settings : mapping
        The same for all runs, as `fedkd.simulate` takes them.

    Raises
    ------
    ConfigError
        For a key that no run of a study may have, or an object that no file can hold.
    """
    seeds, grid = given.get("seeds"), given.get("grid") or {}
    if not isinstance(grid, Mapping):
        raise ConfigError("grid", grid, "must be a mapping of keys to lists of their values")
    if isinstance(seeds, Integral):
        problem = f"is one number; say range({seeds}) for that many seeds, or [{seeds}] for that"
        raise ConfigError("seeds", seeds, problem)
    if seeds is not None and not isinstance(seeds, str) and isinstance(seeds, Iterable):
        given = {**given, "seeds": list(seeds)}
    for key in (key for axis in (grid, settings) for key in axis if key in NOT_FOR_RUNS):
        raise ConfigError(key, {**settings, **grid}[key], NOT_FOR_RUNS[key])
    axes = {key: _axis(key, values) for key, values in grid.items()}
    plain = {key: written(key, value) for key, value in settings.items()}
    told = {**given, "grid": axes or None, "settings": plain or None}
    return {key: written(key, value) for key, value in told.items() if value is not None}


def _axis(key: str, values: Any) -> Any:
    """Return the values of a key: a text is in Hydra's grammar."""
    row = getattr(values, "ndim", None) == 1  # of numpy or pandas
    if row or isinstance(values, list | tuple | range):
        return [written(key, one) for one in values]
    return written(key, values)


def _inner(key: str, name: object) -> str:
    return str(name) if key in ("grid", "settings") else f"{key}.{name}"


def _imported_as(value: Any) -> str:
    """Return ``module:Name`` of what can be imported by that, elsewhere too; else nothing."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not (isinstance(name, str) and isinstance(module, str) and module != "__main__"):
        return ""
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return ""
    return f"{module}:{name}" if found is value else ""
