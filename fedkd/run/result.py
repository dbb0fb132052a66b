"""What a finished run gives back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from torch import nn

from ..rundir.digest import load_model
from ..score import Score, saved_score

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


@dataclass
class RunResult:
    """A finished run.

    Attributes
    ----------
    run_dir : Path
        Where everything is on disk.
    summary : dict
        The content of ``summary.json``.
    rounds : pyarrow.Table
        One row a round (``.to_pandas()`` for a data frame).
    clients : pyarrow.Table
        Tidy: round, client, metric, value.
    """

    run_dir: Path
    summary: dict[str, Any]
    rounds: pa.Table
    clients: pa.Table
    build: "Callable[[int], nn.Module]" = field(repr=False)
    keep: Any = field(default=None, repr=False)
    """keeps a temporary run directory alive as long as the result"""

    @property
    def score(self) -> Score:
        """What the run's task is measured by."""
        return saved_score(self.run_dir)

    def model(self, client: int) -> nn.Module:
        """Return a client's final model, in evaluation mode."""
        model = self.build(client)
        model.load_state_dict(load_model(self.run_dir / "models", client))
        return model.eval()

    def plot_curves(self) -> "Figure":
        """Draw the task's score, local and global, against the round."""
        from ..report import figures

        return figures.learning_curves([self._run()])

    def plot_weights(self, *, log: bool = False) -> "Figure":
        """Draw who learned from whom in the last round; the colours' scale is 0 to 1.

        Parameters
        ----------
        log : bool
            Whether the scale is logarithmic, from 0.0001 to 1: it tells small weights apart.

        Raises
        ------
        ConfigError
            If the run has no mixing weights.
        """
        from ..report import figures

        return figures.weights_figure(self._run(), log=log)

    def plot_partition(self) -> "Figure":
        """Draw each client's histogram of classes, or of bins of its targets."""
        from ..report import figures

        run = self._run()
        about = run.histogram, run.class_names
        return figures.partition_figure(*about, client_names=run.client_names)

    def _run(self) -> Any:
        from ..report.reader import Run

        return Run.load(self.run_dir)
