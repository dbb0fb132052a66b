"""Whether runs are those of a frozen study: what a comparison says of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ConfigError
from ..rundir.freezing import Frozen
from ..rundir.identity import identity
from .reader import Run
from .remarks import shown


def belonging(runs: Sequence[Run]) -> Iterator[str]:
    """Yield for each frozen study around finished runs which of them belong to it.

    Said are also frozen runs that are not among them, and runs of no frozen study beside others.
    """
    studies: dict[Path, list[Run]] = {}
    for run in runs:
        if run.finished:
            studies.setdefault(run.path.absolute().parent, []).append(run)
    told = {folder: _told(folder, inside) for folder, inside in studies.items()}
    yield from filter(None, told.values())
    free = sum(len(inside) for folder, inside in studies.items() if not told[folder])
    if free and any(told.values()):
        yield f"{free} of the runs {'are' if free > 1 else 'is'} of no frozen study"


def _told(folder: Path, runs: Sequence[Run]) -> str:
    try:
        frozen = Frozen.read(folder)
        if frozen is None:
            return ""
        other = [f"{run.path.name}: {why}" for run in runs if (why := frozen.belongs(run.path))]
    except ConfigError as error:
        return f"whether these runs belong to the frozen study is not known: {error}"
    found = {identity(run.config, run.path / "split.npz") for run in runs}
    lost = [name for name, run in frozen.runs.items() if run["identity"] not in found]
    odd = [(other, "here and not of it"), (lost, "of it and not here, or not finished")]
    words = [f"{what} ({len(names)}): {shown(names)}" for names, what in odd if names]
    said = "; ".join(words) or "all of its runs are here, and all these runs belong to it"
    return f"frozen on {frozen.made} ({folder}): {said}"
