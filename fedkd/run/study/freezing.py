"""``--freeze``: write down what a study is going to be, before its first run."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...config import RunConfig
from ...config.code import commit_of
from ...config.definition import Definition
from ...errors import ConfigError
from ...rundir.freezing import Frozen, data_of
from ...rundir.identity import identity
from ...rundir.study import StudyFolder, key
from ...rundir.summary import versions
from ..objects import Objects
from ..preparing import prepare_run
from .planning import Step


def frozen(
    folder: StudyFolder, steps: Sequence[Step], study: Definition, freeze: bool
) -> Frozen | None:
    """Return what a study was, or is now, frozen as; None if it is not.

    Raises
    ------
    ConfigError
        If it is not to be frozen any more, or is not what was frozen.
    """
    code = {what: content for step in steps for what, content in step.code.items()}
    if (found := Frozen.read(folder.path)) is not None:
        found.check(folder.path, [key(step.asked.to_dict()) for step in steps], code)
        return found
    if not freeze:
        return None
    if begun := [step.run.name for step in steps if step.state != "waiting"]:
        problem = f"its first run has begun ({begun[0]}); freeze a study before, in another run_dir"
        raise ConfigError("--freeze", folder.path, problem)
    runs = {step.run.name: _foreseen(step.asked) for step in steps}
    plugged = {what: {"content": c, "commit": commit_of(what)} for what, c in code.items()}
    made = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return Frozen(made, dict(study.content), runs, plugged, versions())


def _foreseen(config: RunConfig) -> dict[str, Any]:
    """Return what is known of a run before it begins."""
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        resolved = prepare_run(config, place, Objects()).config.to_dict()
        own = {"config": key(resolved), "identity": identity(resolved, place / "split.npz")}
        return {"key": key(config.to_dict()), **own, "data": data_of(place)}
