"""Read run directories."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..config.saved import readable
from ..config.yamls import from_yaml
from ..errors import ConfigError
from ..rundir.summary import ADDED, derive, floats, upgraded
from ..score import ALMA, Score, saved_score
from .brief import in_a_line, run_card

REQUIRED = ("config.yaml", "rounds.parquet")

LEVELS = 4
"""How deep a folder is searched for runs."""


@dataclass(repr=False)
class Run:
    """One run directory. A run that was interrupted reads like any other, with fewer rounds.

    A notebook shows its headline.

    Attributes
    ----------
    path : Path
        The run directory.
    summary : dict
        ``summary.json``; derived from the tables where the run did not finish.
    config : dict
        ``config.yaml``.
    rounds, clients : pyarrow.Table
        One row a round; one row a (round, client, metric).
    finished : bool
        Whether the run wrote its summary.
    score : Score
        What its task is measured by.
    """

    path: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    rounds: pa.Table
    clients: pa.Table
    finished: bool
    score: Score = ALMA

    @classmethod
    def load(cls, run_dir: str | Path) -> "Run":
        """Read a run directory.

        Raises
        ------
        ConfigError
            If the folder is not a run, or one of its files cannot be read.
        """
        path = Path(run_dir)
        missing = [name for name in REQUIRED if not (path / name).is_file()]
        if missing:
            what = f"{' and '.join(missing)} missing" if path.is_dir() else "no such folder"
            inside = {*_folders_in(path)} - {path}
            more = "; name one of the runs in it, or use fedkd compare" if inside else ""
            raise ConfigError("run", path, f"not a run directory: {what}{more}")
        with readable("run", path):
            config = from_yaml((path / "config.yaml").read_text())
            rounds = _numbered(pq.read_table(path / "rounds.parquet"))
            clients = _clients(path / "clients.parquet")
            file = path / "summary.json"
            finished = file.is_file()
            score = saved_score(path)
            derived = derive(config, rounds, score=score)
            summary = upgraded(json.loads(file.read_text())) if finished else derived
            summary = {key: derived[key] for key in ADDED} | summary
            lacking = sorted(derived.keys() - summary.keys())
            odd = sorted(key for key in derived if not _alike(derived[key], summary.get(key)))
        if odd and not lacking:
            raise ConfigError("run", path, f"summary.json has another kind of {', '.join(odd)}")
        if lacking:
            raise ConfigError("run", path, f"summary.json lacks {', '.join(lacking)}")
        return cls(path, summary, config, rounds, clients, finished, score)

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return str(self.summary["strategy"])

    @cached_property
    def histogram(self) -> np.ndarray | None:
        """Samples of each class at each client ``[clients, classes]``, or None."""
        return self._array("split.npz", "histogram")

    @cached_property
    def class_names(self) -> list[str] | None:
        """Names of the classes, or None."""
        names = self._array("split.npz", "class_names")
        return None if names is None else names.tolist()

    @cached_property
    def client_names(self) -> list[str] | None:
        """What the clients are called, or None."""
        names = self._array("split.npz", "client_names")
        return None if names is None else names.tolist()

    def __repr__(self) -> str:
        return f"<Run {in_a_line(self.summary, self.score)}, {self.path}>"

    def _repr_html_(self) -> str:
        return run_card(self.path, self.summary, self.score)

    def weights(self, round: int | None = None) -> tuple[np.ndarray, np.ndarray] | None:
        """Return ``(clients [n], weights [n, n])`` of a round, None if they were not kept.

        Parameters
        ----------
        round : int, optional
            Which round; the last one that has weights by default.
        """
        rounds = self.weighted()
        number = rounds[-1] if round is None and rounds else round
        if number not in rounds:
            return None
        file = self.path / "weights.npz"
        with readable("run", file), np.load(file, allow_pickle=False) as arrays:
            return arrays[f"clients_{number:04d}"], arrays[f"round_{number:04d}"]

    def weighted(self) -> list[int]:
        """Return the rounds whose weights were kept, in order."""
        file = self.path / "weights.npz"
        if not file.is_file():
            return []
        with readable("run", file), np.load(file, allow_pickle=False) as arrays:
            return sorted(int(name[6:]) for name in arrays.files if name.startswith("round_"))

    def column(self, name: str) -> np.ndarray:
        """Return a column of `rounds` as float64 ``[rounds]``, NaN where null or absent."""
        if name not in self.rounds.column_names:
            return np.full(self.rounds.num_rows, np.nan)
        return floats(self.rounds[name])

    def values(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(clients [n], values [n])`` of a metric, clients ascending, each its last value.

        Who was away in the last round, or whose model did not change, was measured earlier.
        """
        rows = self.clients.filter(pc.equal(self.clients["metric"].cast(pa.string()), metric))
        newest = rows.sort_by([("round", "descending")])
        clients, place = np.unique(newest["client"].to_numpy(), return_index=True)
        return clients, floats(newest["value"])[place]

    def _array(self, file: str, key: str) -> np.ndarray | None:
        path = self.path / file
        if not path.is_file():
            return None
        with readable("run", path), np.load(path, allow_pickle=False) as arrays:
            return arrays[key] if key in arrays.files else None


def find_runs(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the run directories among `paths` and up to four levels below them, each once.

    Parameters
    ----------
    paths : path or iterable of paths
        Run directories, or folders of them such as a sweep. Their order is kept; the runs of a
        folder are in natural order (run 2 before run 10).

    Raises
    ------
    ConfigError
        If one of the paths holds no run.
    """
    found: dict[Path, None] = {}
    for path in _each(paths):
        runs = [each for each in _folders_in(Path(path)) if (each / REQUIRED[1]).is_file()]
        if not runs:
            Run.load(path) if not Path(path).is_dir() else _none_in(path)
        found |= dict.fromkeys(run.resolve() for run in sorted(runs, key=_natural))
    return list(found)


def find_unstarted(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the folders that `find_runs` passes over: of runs that have no table of rounds."""
    found = [each.resolve() for path in _each(paths) for each in _folders_in(Path(path))]
    lost = [path for path in dict.fromkeys(found) if not (path / REQUIRED[1]).is_file()]
    return sorted(lost, key=_natural)


def load_runs(runs: "str | Path | Run | Sequence[str | Path | Run]") -> list[Run]:
    """Return `runs` with every path in it loaded.

    Raises
    ------
    ConfigError
        If there is no run, or one cannot be read.
    """
    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    if not given:
        raise ConfigError("run", "", "no run directory given")
    return [run if isinstance(run, Run) else Run.load(run) for run in given]


def _each(paths: str | Path | Iterable[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)


def _folders_in(path: Path, levels: int = LEVELS) -> list[Path]:
    """Return the folders with a configuration; within a run there is no other."""
    here, run = ((path / name).is_file() for name in REQUIRED)
    inside = [] if (here and run) or not levels else path.glob("[!.]*/")
    return [path] * here + [found for each in inside for found in _folders_in(each, levels - 1)]


def _none_in(path: str | Path) -> None:
    problem = f"neither a run directory nor a folder of them (no {' with '.join(REQUIRED)})"
    raise ConfigError("run", path, problem)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _clients(path: Path) -> pa.Table:
    schema = pa.schema(
        {"round": pa.int32(), "client": pa.int32(), "metric": pa.string(), "value": pa.float64()}
    )
    if not path.is_file():
        return schema.empty_table()
    table = pq.read_table(path)
    for field in schema:
        table[field.name].cast(field.type)  # fails where it is another table
    return table


def _numbered(rounds: pa.Table) -> pa.Table:
    """Return a table of rounds; fail if it is another one."""
    rounds["round"].cast(pa.int64())
    return rounds


def _alike(wanted: Any, given: Any) -> bool:
    """Say whether a value of a summary is of the kind that is wanted; None may stand for others."""
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(
            _alike(value, given.get(key)) for key, value in wanted.items()
        )
    if isinstance(wanted, int | float):
        return isinstance(given, int | float)
    return wanted is None or given is None or isinstance(given, type(wanted))
