"""The summary of a run that did not live to write its own."""

from typing import Any

import numpy as np
import pyarrow as pa

PHASES = ("fit", "fuse", "distil", "evaluate")


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as float64, NaN where null."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def derive(config: dict[str, Any], rounds: pa.Table) -> dict[str, Any]:
    """Return a summary as in summary.json, from a configuration and the rounds there are."""
    columns = {name: floats(rounds[name]) for name in rounds.column_names}

    def total(name: str) -> float:
        return float(np.nansum(columns.get(name, np.zeros(1))))

    def alma(name: str) -> dict[str, float | None]:
        values = columns.get(name, np.zeros(0))
        kept = np.flatnonzero(np.isfinite(values))
        if not kept.size:
            return {"last": None, "best": None, "std": None}
        std = float(columns.get(f"{name}_std", values * np.nan)[kept[-1]])
        return {"last": float(values[kept[-1]]), "best": float(values[kept].max()), "std": std}

    return {
        "strategy": config["strategy"]["name"],
        "data": config["data"]["name"],
        **{key: config[key] for key in ("clients", "rounds", "seed")},
        "engine": config["engine"]["name"],
        **{key: alma(key) for key in ("alma_local", "alma_global")},
        **{key: int(total(key)) for key in ("rejected", "bytes_up", "bytes_down")},
        "seconds": {"total": total("seconds")} | {key: total(f"seconds_{key}") for key in PHASES},
    }
