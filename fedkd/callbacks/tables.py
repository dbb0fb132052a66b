"""Collect a run's tables and keep them on disk."""

import time
from array import array
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic import replacing
from .base import Callback, RoundRecord, Row

ALL_ROUNDS_UP_TO = 1_000
"""Clients in a round up to which the mixing weights of every round are kept."""


class Tables(Callback):
    """Write ``rounds.parquet``, ``clients.parquet`` and ``weights.npz`` into a run directory.

    The files are replaced as a whole, at the end of the run (finished or not) and at most every
    `seconds` meanwhile, so an interrupted run can be read.

    Parameters
    ----------
    run_dir : path
        Where to write; made if missing.
    seconds : float
        Shortest time between two writes. Large tables are written less often, so that writing
        takes at most a twentieth of the run.
    check : callable, optional
        Raises if the directory is not the run's any more; called in every round.

    Examples
    --------
    >>> import tempfile
    >>> tables = Tables(tempfile.mkdtemp())
    >>> tables.on_round(RoundRecord(1, 1, {"bytes_up": 10}, [(0, "local", 0.5)]))
    >>> tables.rounds.to_pylist(), tables.clients.to_pylist()[0]["value"]
    ([{'round': 1, 'bytes_up': 10}], 0.5)
    """

    def __init__(
        self,
        run_dir: str | Path,
        seconds: float = 5.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.run_dir = Path(run_dir)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.seconds = seconds
        self.check = check
        self._next_write, self._due = 0.0, True
        self._rows: list[dict[str, Any]] = []
        self._round, self._client, self._metric = array("i"), array("i"), array("i")
        self._value = array("d")
        self._metrics: dict[str, int] = {}
        self._weights: dict[str, np.ndarray] = {}

    @property
    def rounds(self) -> pa.Table:
        """One row a round; a column that some rounds lack is null there."""
        names = dict.fromkeys(name for row in self._rows for name in row) or {"round": None}
        columns = {name: _column([row.get(name) for row in self._rows]) for name in names}
        columns["round"] = columns["round"].cast(pa.int32())
        return pa.table(columns)

    @property
    def clients(self) -> pa.Table:
        """Tidy rows: round and client (int32), metric (dictionary), value (float64)."""
        # Copies: an array cannot grow while Arrow looks into its memory.
        index = pa.array(np.array(self._metric, np.int32))
        names = pa.array(list(self._metrics), pa.string())
        return pa.table(
            {
                "round": np.array(self._round, np.int32),
                "client": np.array(self._client, np.int32),
                "metric": pa.DictionaryArray.from_arrays(index, names),
                "value": np.array(self._value, np.float64),
            }
        )

    def on_round(self, record: RoundRecord) -> None:
        """Take the round in; write if the last write is long enough ago."""
        self.check()
        self._due = True
        self._rows.append({"round": record.round} | record.scalars)
        for client, metric, value in record.clients:
            self._add(record.round, client, metric, value)
        if record.weights is not None:
            self._keep_weights(record)
        if time.monotonic() >= self._next_write:
            self.write()

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Write what is not written yet, whether the run finished or not."""
        if self._due:
            self.write()

    def write(self) -> None:
        """Replace the files by what has been collected so far."""
        self.check()
        start = time.monotonic()
        self.write_to(self.run_dir)
        self._due = False
        end = time.monotonic()
        self._next_write = end + max(self.seconds, 20 * (end - start))

    def write_to(self, folder: Path) -> None:
        """Write what has been collected so far into a folder."""
        with replacing(folder / "rounds.parquet") as path:
            pq.write_table(self.rounds, path)
        with replacing(folder / "clients.parquet") as path:
            pq.write_table(self.clients, path)
        if self._weights:
            # A handle, because savez appends .npz to a path.
            with replacing(folder / "weights.npz") as path, path.open("wb") as file:
                np.savez(file, **self._weights)  # type: ignore[arg-type]

    def read_from(self, folder: Path, files: Collection[str]) -> None:
        """Go on from the tables in a folder that has certain files."""
        for row in pq.read_table(folder / "rounds.parquet").to_pylist():
            self._rows.append(row)
        for row in pq.read_table(folder / "clients.parquet").to_pylist():
            self._add(row["round"], row["client"], row["metric"], row["value"])
        if "weights.npz" in files:
            with np.load(folder / "weights.npz", allow_pickle=False) as file:
                self._weights = dict(file)

    def replace_last(self, row: Row) -> None:
        """Put another row in the place of the last round's."""
        number = self._rows.pop()["round"]
        while self._round and self._round[-1] == number:
            for column in (self._round, self._client, self._metric, self._value):
                column.pop()
        self._rows.append({"round": number} | row.scalars)
        for client, metric, value in row.clients:
            self._add(number, client, metric, value)

    def _add(self, round_: int, client: int, metric: str, value: float) -> None:
        self._round.append(round_)
        self._client.append(client)
        self._metric.append(self._metrics.setdefault(metric, len(self._metrics)))
        self._value.append(value)

    def _keep_weights(self, record: RoundRecord) -> None:
        assert record.weights is not None
        clients, weights = record.weights
        if len(clients) > ALL_ROUNDS_UP_TO:
            self._weights.clear()
        self._weights[f"round_{record.round:04d}"] = weights.detach().float().cpu().numpy().copy()
        self._weights[f"clients_{record.round:04d}"] = np.array(clients, np.int32)


def _column(values: list[Any]) -> pa.Array:
    plain = [value.item() if hasattr(value, "item") else value for value in values]
    if any(isinstance(value, str) for value in plain):
        return pa.array(plain, pa.string())
    whole = all(isinstance(value, int) for value in plain if value is not None)
    empty = bool(plain) and all(value is None for value in plain)
    return pa.array(plain, pa.int64() if whole and not empty else pa.float64())
