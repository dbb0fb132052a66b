"""Python's door to studies: what ``fedkd run -m`` does, and its study files and folders."""

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import current_thread, main_thread
from time import strftime
from typing import Any

from ...callbacks.interrupts import Interrupts
from ...config.definition import FILE, Definition
from ...config.grammar import parse, raw_value
from ...errors import ConfigError, FedkdError
from ...rundir.study import RECORD
from ..runner import reports
from .naming import kept, values_of
from .opened import Study
from .results import Results
from .running import Uninterrupted, run_study
from .telling import teller
from .written import NOT_FOR_RUNS, content_of, written

log = logging.getLogger("fedkd")

WORDS = ("hypothesis", "tags")

Source = str | Path | Mapping[str, Any] | Study | None


def study(
    source: Source = None,
    *,
    grid: Mapping[str, Any] | None = None,
    seeds: Iterable[int] | str | None = None,
    presets: Sequence[str] | None = None,
    hypothesis: str | None = None,
    tags: Sequence[str] | None = None,
    overrides: Sequence[str] | None = None,
    run_dir: str | Path | None = None,
    parallel: int | str | None = None,
    retry_failed: bool = False,
    freeze: bool = False,
    trust: bool = False,
    progress: bool | None = None,
    **settings: Any,
) -> Study:
    """Run a study: every combination of a grid, each in a folder of its own.

    It is what ``fedkd run -m`` makes, and either goes on with the other's: called again with the
    same settings and `run_dir`, or with the folder alone, it does what is left to do. A run that
    fails does not stop the others: it is warned of, and `Study.failures` says why.

    Parameters
    ----------
    source : path, mapping or Study, optional
        A study's file (``STUDY.yaml``) or what is in one, or the folder of a study that is to go
        on. What is given beside it takes the place of what it says of the same keys.
    grid : mapping, optional
        The values of each key that differs: ``{"strategy": ["local", "knfu"]}``.
    seeds : iterable of int, or str, optional
        Those of every combination: ``range(3)``.
    presets : sequence of str, optional
        Presets (``experiment``) to start from.
    hypothesis : str, optional
        What the study is to show, for people.
    tags : sequence of str, optional
        Words for people.
    overrides : sequence of str, optional
        More of it, as on the command line: ``["fit.lr=0.1,0.2"]``.
    run_dir : path, optional
        Its folder; by default ``runs/<time>-sweep``, or named after its file.
    parallel : int or str, optional
        How many runs at once, a process each: ``study.parallel``, ``off`` by default; ``auto`` =
        small ones, one per core.
    retry_failed : bool
        Whether runs that have failed are run again.
    freeze : bool
        Whether to write down what the study will be before its first run.
    trust : bool
        Whether to execute code outside fedkd that only somebody else's folder names.
    progress : bool, optional
        Whether to show how far it is; by default a notebook does.
    **settings
        The same for all runs, as `fedkd.simulate` takes them. An object must be one that can be
        imported (a class of a module): the study's file has to name it.

    Returns
    -------
    Study

    Raises
    ------
    ConfigError
        Before anything starts, if something given cannot be used, or the folder holds other runs.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import fedkd
    >>> small = {"clients": 3, "rounds": 1, "engine": "inline", "transfer.size": 40}
    >>> found = fedkd.study(grid={"strategy": ["local", "fedmd"]}, seeds=range(2),
    ...                     run_dir=mkdtemp(), **small)
    >>> found.table()[["strategy", "seeds", "bytes_up"]].values.tolist()
    [['local', 2, 0.0], ['fedmd', 2, 6096.0]]
    >>> [run.state for run in found.status().runs]
    ['finished', 'finished', 'finished', 'finished']
    """
    source = settings.pop("resume", None) if source is None else source
    given: dict[str, Any] = {"hypothesis": hypothesis, "tags": tags, "presets": presets}
    given |= {"grid": grid, "seeds": seeds, "overrides": overrides}
    settings |= {} if parallel is None else {"study.parallel": str(parallel)}
    definition, folder = _meant(source, content_of(given, settings), run_dir, trust)
    alone = nullcontext(Uninterrupted())  # Python hears of signals in its main thread
    here = Interrupts() if current_thread() is main_thread() else alone
    with here as interrupts:
        try:
            results = run_study(
                definition, folder, teller(progress), interrupts, retry_failed, freeze
            )
        except KeyboardInterrupt as stop:
            if (folder / RECORD).is_file():
                stop.add_note(f"fedkd.study({str(folder)!r}) goes on with it")
            raise
    _warn(results)
    _report(results, folder)
    return Study(folder)


def _meant(
    source: Source, content: dict[str, Any], run_dir: str | Path | None, trust: bool
) -> tuple[Definition, Path]:
    """Return a study and its folder."""
    more, stem = Definition.checked(content), f"{strftime('%Y%m%d-%H%M%S')}-sweep"
    if source is None:
        study = more
    else:
        study, folder, stem = _base(source, trust, stem)
        if folder is not None and run_dir is not None:
            raise ConfigError(
                "run_dir", run_dir, f"{folder} is to go on, where it is; leave it out"
            )
        run_dir = folder or run_dir
        study = study.extended(more.overrides)
        study = Definition(dict(study.content) | {k: content[k] for k in WORDS if k in content})
    words = {text: parse(text) for text in study.overrides}
    if resumed := [one for one in words.values() if one.key_or_group == "resume"]:
        raise ConfigError("resume", raw_value(resumed[0]), NOT_FOR_RUNS["resume"])
    places = values_of(words, "run_dir")
    if not isinstance(run_dir, str | Path | None) or run_dir == "":
        raise ConfigError("run_dir", run_dir, "must be the path of a folder")
    place = run_dir or (places[-1] if places else Path("runs", stem))
    return study, Path(place).expanduser()


def _base(source: Source, trust: bool, stem: str) -> tuple[Definition, Path | None, str]:
    """Return a study that is there, its folder if it has one, and what it is called."""
    if isinstance(source, Mapping):
        plain = {key: written(key, value) for key, value in source.items()}
        return Definition.checked(plain), None, stem
    path = Path(source.run_dir if isinstance(source, Study) else str(source)).expanduser()
    if path.is_dir():
        if not (path / FILE).is_file():
            raise ConfigError("study", path, f"is no study's folder: {FILE} is missing")
        return kept(path, trust), path, stem
    return Definition.read(path), None, path.stem


def _warn(results: Results) -> None:
    """Warn of runs that have failed."""
    if not results.failures:
        return
    name = next(iter(results.failures))
    count = f"{len(results.failures)} of {len(results.steps)} runs failed"
    rest = "Study.failures says why; retry_failed=True runs them again"
    warnings.warn(
        f"{count} ({name}: {results.failure(name)}); {rest}", RuntimeWarning, stacklevel=3
    )


def _report(results: Results, folder: Path) -> None:
    """Write the report of what has finished, if anything is new; it must not cost the study."""
    from ...report import render

    there = (folder / "report.html").is_file() and not results.done
    if not results.finished or there or not reports():
        return
    try:
        render(results.in_order, folder / "report.html")
    except (OSError, ValueError, FedkdError):
        log.exception("the report could not be written")
