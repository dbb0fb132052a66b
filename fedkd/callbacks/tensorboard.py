"""Show a run in TensorBoard."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from .base import Callback, RoundRecord


class TensorBoard(Callback):
    """Log every round's scalars, and the clients' metrics as histograms, for TensorBoard.

    Look at them with ``tensorboard --logdir RUN_DIR``.

    Parameters
    ----------
    run_dir : path
        The run directory; events go to its ``tensorboard`` folder.

    Raises
    ------
    ConfigError
        If the extra is not installed.
    """

    def __init__(self, run_dir: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            problem = "not installed; pip install 'fedkd[tensorboard]'"
            raise ConfigError("callback", "tensorboard", problem) from error
        self._writer = SummaryWriter(str(Path(run_dir) / "tensorboard"))

    def on_round(self, record: RoundRecord) -> None:
        """Log the round."""
        for name, value in record.scalars.items():
            if isinstance(value, int | float) and name != "round":
                self._writer.add_scalar(name, value, record.round)
        metrics: dict[str, list[float]] = defaultdict(list)
        for _, metric, value in record.clients:
            metrics[metric].append(value)
        for metric, values in metrics.items():
            data = np.array(values)
            if np.isfinite(data).all():
                self._writer.add_histogram(f"clients/{metric}", data, record.round)
        self._writer.flush()

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Close the event file."""
        self._writer.close()
