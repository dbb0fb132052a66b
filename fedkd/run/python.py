"""What people call from Python: a run from keywords or objects, and one that goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..callbacks import Callback
from ..callbacks.cell import shown
from ..config import RunConfig
from ..data import is_data, is_per_client
from ..models import model_name
from .objects import (
    Objects,
    guards_in,
    held_in,
    is_name,
    objective_in,
    strategy_in,
    strategy_of,
    taken,
)
from .result import RunResult
from .runner import run

__all__ = ["Objects", "resume", "simulate"]


def simulate(
    strategy: Any = "knfu",
    data: Any = "digits",
    model: Any = "auto",
    *,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    **settings: Any,
) -> RunResult:
    """Run a simulation from Python.

    Parameters
    ----------
    strategy : str, dict, Strategy, or class of such
        A name (or ``FILE:Class``), ``{"name": ..., parameter: value}``, an object, or a class,
        whose parameters are ``**{"strategy.beta": 5}``.
    data : str, dict, tuple, data frame, datasets.Dataset, torch Dataset, or list of them
        A name, file or folder, ``{"name": ..., "alpha": ...}``, arrays ``(x, y)``,
        ``(x, y, x_test, y_test)`` or ``((x, y), (x_test, y_test))`` with x ``[n, ...]`` and y
        ``[n]`` or one-hot ``[n, classes]``, a data frame, a `datasets.Dataset`, splits of them by
        name, or a map-style torch Dataset. A list of any of these is one per client: `clients` is
        its length. A list of arrays is ``[x, y]``, so arrays of a client must be a tuple.
    model : str, dict, callable, or list of them
        A name, ``{"name": ..., parameter: value}``, any ``() -> nn.Module``, or a list that is
        dealt to the clients in turn.
    callbacks : sequence of Callback
        Observers, such as `fedkd.callbacks.progress.Progress`.
    progress : bool, optional
        Whether to show how far it is: under a notebook's cell as one line, elsewhere on standard
        error. By default a notebook does, and nothing else.
    **settings
        Everything else of the configuration: ``clients=20``, ``engine="inline"``,
        ``fit={"lr": 0.1}``, ``**{"data.alpha": 1.0}``. ``transfer={"data": ...}`` takes what
        `data` does but lists of such, and x alone, be it a list of texts: it needs no labels.
        ``data.split`` and ``transfer.split`` take arrays too, ``data.partitioner`` an object, and
        ``guard`` a Guard object or class, or a list of such and of names. ``objective`` takes an
        Objective object, or a class, whose parameters are ``objective.*``. Without ``run_dir`` the
        run directory is a temporary one that lives as long as the result.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        Before anything starts, if something given cannot be used.
    RunError
        If the run fails.

    Examples
    --------
    >>> result = simulate("fedmd", clients=4, rounds=1, engine="inline")
    >>> result.rounds.num_rows, result.summary["strategy"]
    (1, 'fedmd')
    >>> result.model(0).training
    False
    """
    from ..config.overrides import merge

    settings = {"strategy": strategy, "data": data, "model": model} | settings
    given: dict[str, Any] = {}
    settings, given["strategy"] = strategy_in(settings)
    if is_data(data):
        given["data"], settings["data"] = data, type(data).__name__
    if is_per_client(data):
        settings.setdefault("clients", len(data))
    settings, given["transfer"] = taken(settings, "transfer.data", is_name)
    settings, given["held"] = held_in(settings)
    settings, given["guard"] = guards_in(settings)
    settings, given["objective"] = objective_in(settings)
    models = model if isinstance(model, list | tuple) else [model]
    if not all(isinstance(one, str | Mapping) for one in models):
        given["model"] = list(models)
        settings["model"] = [
            one if isinstance(one, str | Mapping) else model_name(one) for one in models
        ]
    config = merge(RunConfig(), **settings)
    return run(config, shown(callbacks, progress), Objects(**given))


def resume(
    run_dir: str | Path,
    *,
    strategy: Any = None,
    data: Any = None,
    model: Any = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    trust: bool = False,
    **settings: Any,
) -> RunResult:
    """Go on with a run from its newest intact checkpoint.

    Parameters
    ----------
    run_dir : path
        The run directory; its configuration is used.
    strategy, data, model : optional
        The Python objects that the run was made with, if it was made with objects; an object that
        was ``transfer.data`` is given as that again.
    callbacks : sequence of Callback
        Observers.
    progress : bool, optional
        As `simulate` takes it.
    trust : bool
        Whether to execute code outside fedkd that only somebody else's directory names; your own
        runs are known without.
    **settings
        What shall differ: a larger ``rounds``, another ``engine``; and again the arrays or the
        object that ``data.split``, ``transfer.split``, ``data.partitioner``, ``guard`` or
        ``objective`` was.
        Anything else needs ``force=True``, and so do objects made with other arguments.

    Raises
    ------
    ConfigError
        If there is no such run, its configuration differs, it names code and is not yours, or no
        checkpoint can be used.
    """
    from ..config.overrides import compose

    settings, transfer = taken(settings, "transfer.data", is_name)
    settings, held = held_in(settings)
    if not isinstance(strategy, type | None):  # a class takes the parameters that it had
        settings, strategy = strategy_in(settings | {"strategy": strategy})
    settings, guard = guards_in(settings)
    settings, objective = objective_in(settings)
    config = compose([f"resume={run_dir}"], trust=trust, **settings)
    if isinstance(strategy, type):
        strategy = strategy_of(strategy, config.strategy)
    given = Objects(strategy, data, model, transfer, held, guard, objective)
    return run(config, shown(callbacks, progress), given)
