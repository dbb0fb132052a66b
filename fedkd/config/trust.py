"""Whose a run directory is: code that somebody else's directory names is not imported unasked.

A run seals its directory: ``.seal`` is the HMAC-SHA256 of ``config.yaml``, ``spec.json`` and where
the code that they name lies, under a key that only this user can read. A directory without the
user's seal, or edited since, is somebody else's.
"""

import hashlib
import hmac
import importlib.util
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import yaml

from ..atomic import write_text
from ..errors import ConfigError
from .keyfile import make_key, read_key
from .yamls import from_yaml

FILE = ".seal"
SEALED = ("config.yaml", "spec.json")
_OURS = re.compile(r"(fedkd|flwr\.serverapp\.strategy|flwr_datasets\.partitioner)([.:]\w+)*")
_NO_CODE = {"run_dir", "resume", *(f"data.{name}" for name in ("name", "label", "text", "client"))}
_NO_CODE |= {"transfer.data", "transfer.split"}  # of a configuration
_NO_CODE |= {"data.corpus", "data.transfer", "data.split"}  # of a client's spec

Named = tuple[str, str]
"""A key, and the code (or the Ray cluster) that it names."""


def outside(config: Any, key: str = "") -> Iterator[Named]:
    """Yield all that a configuration has imported, or joined, and that does not come with fedkd.

    Whatever could be ``FILE:Class`` or ``module:Class`` counts, wherever it stands. Whoever runs
    the Ray cluster at ``engine.address`` could run code here, too.

    Examples
    --------
    >>> list(outside({"strategy": {"name": "./mine.py:Mine"}, "model": ["mlp", "my.nets:Net"]}))
    [('strategy', './mine.py:Mine'), ('model', 'my.nets:Net')]
    >>> list(outside({"strategy": {"name": "flwr.serverapp.strategy:FedAvgM"}, "run_dir": "a:b"}))
    []
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from outside(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for value in config:
            yield from outside(value, key)
    elif isinstance(config, str) and key not in _NO_CODE and _leads_outside(key, config):
        yield key.removesuffix(".name"), config


def _leads_outside(key: str, text: str) -> bool:
    if key == "engine.address":
        return text not in ("auto", "local")
    source = text.rpartition(":")[0] or text
    named = ":" in text or text.endswith(".py") or key.endswith("_target_")
    return named and (source.endswith(".py") or _OURS.fullmatch(text) is None)


def vet(
    run_dir: str | Path,
    config: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: str,
    *,
    given: Collection[str] = (),
    trusted: bool = False,
    names: Sequence[str] = SEALED,
) -> None:
    """Refuse to import what only somebody else's directory names.

    Parameters
    ----------
    run_dir : path
        The directory.
    config : mapping, or sequence of mappings
        What it has the reader import: a configuration, or several, or a client's spec.
    key : str
        The configuration key that the directory was given for.
    given : collection of str
        What the user named, too.
    trusted : bool
        Whether the user trusts the directory.
    names : sequence of str
        The files in it that are sealed.

    Raises
    ------
    ConfigError
        If there is such a name, and the directory is not the user's own.
    """
    found = [name for name in dict.fromkeys(outside(config)) if name[1] not in given]
    path = Path(run_dir).expanduser()
    if not found or trusted or sealed(path, names, None if names == SEALED else found):
        return
    shown = ", ".join(f"{where}={what}" for where, what in found)
    plain = "".join(char if char.isprintable() else " " for char in shown)[:300]
    again = " or name them again" if key == "resume" else ""
    problem = (
        f"names code that is not fedkd's ({plain}), and was not made by you as it is, or not from "
        f"here; if you would run it as a script, add trust=true{again}"
    )
    raise ConfigError(key, run_dir, problem)


def seal(
    run_dir: Path, names: Sequence[str] = SEALED, named: Collection[Named] | None = None
) -> None:
    """Mark a directory as the user's own, if there is a key (or can be one) to do it with.

    Parameters
    ----------
    run_dir : Path
        The directory.
    names : sequence of str
        The files in it that are to stay as they are.
    named : collection, optional
        The code that they have imported; by default what `outside` finds in them.
    """
    key = make_key()
    mark = None if key is None else _mark(run_dir, key, names, named)
    if mark is None:
        (run_dir / FILE).unlink(missing_ok=True)
    else:
        write_text(run_dir / FILE, mark)


def sealed(
    run_dir: Path, names: Sequence[str] = SEALED, named: Collection[Named] | None = None
) -> bool:
    """Say whether a directory is the user's own: as it was sealed, and its code in its place.

    Code inside of the directory is not the user's own: it comes with it.
    """
    key = read_key()
    try:
        mark = None if key is None else _mark(run_dir, key, names, named)
        there = (run_dir / FILE).read_bytes()
        return mark is not None and hmac.compare_digest(there, mark.encode())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False


def _mark(
    run_dir: Path, key: bytes, names: Sequence[str], named: Collection[Named] | None
) -> str | None:
    """Return what seals a directory now; None if code that it names is in itself."""
    contents = [(run_dir / name).read_bytes() for name in names]
    if named is None:
        config, spec = contents
        named = [*outside(from_yaml(config)), *outside(json.loads(spec))]
    places = {what: origin(what) for where, what in named if where != "engine.address"}
    if any(Path(place).is_relative_to(run_dir.resolve()) for place in places.values()):
        return None
    sums = [hashlib.sha256(content).hexdigest() for content in contents]
    message = json.dumps([*sums, sorted(places.items())])
    return hmac.new(key, message.encode(), "sha256").hexdigest()


def origin(what: str) -> str:
    """Return the file or folder that a name would be imported from now; nothing is imported."""
    source = what.rpartition(":")[0] or what
    if source.endswith(".py") or "/" in source or "\\" in source:
        return str(Path(source).expanduser().resolve())
    top = source.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except ValueError:  # __main__, for one
        found = None
    found = found or PathFinder.find_spec(top, [*sys.path, str(Path.cwd())])
    places = [found.origin, *(found.submodule_search_locations or ())] if found else []
    return str(Path(next(filter(None, places), "nowhere")).resolve())
