"""Attack a run and write down what was found."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..engine.host import one_thread
from ..errors import ConfigError
from ..plugins.table import SEAMS
from ..rng import scoped
from ..run.result import RunResult
from ..rundir.locking import locked
from .base import Finding, PrivacyAttack
from .subject import Subject

SCHEMA = 1
"""Of ``RUN_DIR/attacks/NAME.json``."""


def attack(
    run: str | Path | RunResult,
    name: str,
    *,
    model: Any = None,
    trust: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
    **parameters: Any,
) -> Finding:
    """Attack a run that was made with ``record.knowledge=true``.

    ``RUN_DIR/attacks/NAME.json`` then has ``schema`` (1), ``attack``, ``parameters``, ``access``
    (who the adversary is and what it is given), ``run`` (strategy, data, clients, rounds, seed,
    and privacy if the run has it), and the fields of `Finding` without the picture, which is
    ``NAME.png``. Non-finite numbers are null.

    Parameters
    ----------
    run : path or RunResult
        A run directory, or what `fedkd.simulate` returned.
    name : str
        A module of `fedkd.leakage` such as ``"membership"``, ``FILE.py:Class`` or
        ``package.module:Class``.
    model : optional
        The Python models of a run that was made with such.
    trust : bool
        Whether to execute code outside fedkd that only somebody else's directory names; your own
        runs are known without.
    tell : callable
        Called with how many models have been trained, and will be; `Membership` trains many.
    **parameters
        Those of the attack.

    Raises
    ------
    ConfigError
        If there is no such attack or parameter, the run does not have what the attack needs, is
        under way, or names code and is not yours.

    Examples
    --------
    >>> import fedkd
    >>> run = fedkd.simulate("fedmd", clients=4, rounds=1, engine="inline",
    ...                      **{"record.knowledge": True})
    >>> sorted(fedkd.attack(run, "label_distribution").results)
    ['debiased', 'mean soft label', 'prior: population', 'prior: uniform']
    """
    made = make(name, parameters)
    path = run.run_dir if isinstance(run, RunResult) else Path(run).expanduser()
    # One that goes on changes what is read; attacks may be several at a time.
    with locked(path, "run", shared=True) if path.is_dir() else nullcontext():
        subject = Subject(path, model, trust or isinstance(run, RunResult), tell)
        return _attacked(subject, made, name, parameters)


def _attacked(
    subject: Subject, made: PrivacyAttack, name: str, parameters: dict[str, Any]
) -> Finding:
    """Attack, and write down what was found."""
    task = subject.run.config.get("task", {"name": "classification"})["name"]
    if not subject.parts.task.needs_classes:
        raise subject.refuse(name, f"its task is {task}, and the attack needs classes")
    kind = subject.recordings.kind
    if made.kinds is not None and kind not in made.kinds:
        problem = f"its clients share {kind}, and the attack needs {' or '.join(made.kinds)}"
        raise subject.refuse(name, problem)
    with one_thread(), scoped(subject.seed(name)):  # models may draw, for their dropout
        finding = made.run(subject)
    _write(subject, made, name, parameters, finding)
    return finding


def make(name: str, parameters: dict[str, Any]) -> PrivacyAttack:
    """Return an attack; `ConfigError` if there is no such, or it refuses a parameter."""
    made: PrivacyAttack = SEAMS["privacy_attacks"].create({**parameters, "name": name})
    return made


def short_name(name: str) -> str:
    """Return the file name of an attack.

    Examples
    --------
    >>> short_name("./mine.py:Mine"), short_name("membership")
    ('Mine', 'membership')
    """
    return name.rpartition(":")[2]


def _write(
    subject: Subject, made: PrivacyAttack, name: str, parameters: dict[str, Any], found: Finding
) -> None:
    """Write ``attacks/NAME.json`` and ``NAME.png``."""
    from PIL import Image

    summary = subject.run.summary
    about = {key: summary[key] for key in ("strategy", "data", "clients", "rounds", "seed")}
    whole = {
        "schema": SCHEMA,
        "attack": name,
        "parameters": parameters,
        "access": made.access,
        "run": about | {"privacy": summary.get("privacy")},
        **{key: value for key, value in vars(found).items() if key != "picture"},
    }
    stem = subject.run.path / "attacks" / short_name(name)
    try:
        stem.parent.mkdir(exist_ok=True)
        with replacing(stem.with_suffix(".json")) as path:
            path.write_text(json.dumps(_finite(whole), indent=1, allow_nan=False) + "\n")
        if found.picture is not None:
            with replacing(stem.with_suffix(".png")) as path:
                Image.fromarray(found.picture).save(path, "PNG")
    except OSError as error:
        problem = f"attacks/ cannot be written: {error.strerror}"
        raise ConfigError("run", subject.run.path, problem) from error


def _finite(value: Any) -> Any:
    """Return JSON-ready values, null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    value = value.item() if getattr(value, "shape", None) == () else value
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
