"""Which code a configuration names, by its content: a plug-in may be edited between two runs."""

import hashlib
import subprocess
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from .trust import origin, outside

GIT_SECONDS = 10.0


def code_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what stands for the content of each plug-in that a configuration names.

    Of a file it is the sha256; of a package of one's own that of all its Python files; of one that
    is installed its version.

    Parameters
    ----------
    config : mapping
        A run's configuration, nested.

    Examples
    --------
    >>> code_of({"strategy": {"name": "knfu"}})
    {}
    """
    named = {what for where, what in outside(config) if where != "engine.address"}
    return {what: _content(what) for what in sorted(named)}


def commit_of(what: str) -> str | None:
    """Return the git commit that a plug-in is in, with ``+`` if it differs from that; or None."""
    place = Path(origin(what))
    folder = place if place.is_dir() else place.parent
    with suppress(OSError, subprocess.SubprocessError):
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--", str(place)) else "")
    return None


def _content(what: str) -> str:
    place = Path(origin(what))
    if place.is_relative_to(sysconfig.get_path("purelib")):
        top = what.partition(":")[0].partition(".")[0]
        with suppress(PackageNotFoundError):
            return " ".join(f"{n} {version(n)}" for n in packages_distributions().get(top, [top]))
    package = place.name == "__init__.py"
    files = sorted(place.parent.rglob("*.py")) if package else [place]
    whole = hashlib.sha256()
    for file in files:
        with suppress(OSError):  # who needs it says that it is not there
            whole.update(f"{file.relative_to(place.parent)}\n".encode() + file.read_bytes())
    return whole.hexdigest()


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS)
    return done.stdout.strip()
