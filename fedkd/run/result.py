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


@dataclass(repr=False)
class RunResult:
    """A finished run; a notebook shows its headline.

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
    build: "Callable[[int], nn.Module]"
    keep: Any = None
    """keeps a temporary run directory alive as long as the result"""
    score: Score = field(init=False)
    """what the run's task is measured by"""

    def __post_init__(self) -> None:
        """Read what the directory says of the score: it may be gone when that is shown."""
        self.score = saved_score(self.run_dir)

    def __repr__(self) -> str:
        from ..report.brief import in_a_line

        return f"<RunResult {in_a_line(self.summary, self.score)}, {self.run_dir}>"

    def _repr_html_(self) -> str:
        from ..report.brief import run_card

        return run_card(self.run_dir, self.summary, self.score, self.keep is not None)

    def model(self, client: int) -> nn.Module:
        """Return a client's final model, in evaluation mode."""
        model = self.build(client)
        model.load_state_dict(load_model(self.run_dir / "models", client))
        return model.eval()

    def plot_curves(self) -> "Figure":
        """Draw the task's score, local and global, against the round."""
        from ..report.drawing import figures

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
        from ..report.drawing import figures

        return figures.weights_figure(self._run(), log=log)

    def plot_partition(self) -> "Figure":
        """Draw each client's histogram of classes, or of bins of its targets."""
        from ..report.drawing import figures

        run = self._run()
        about = run.histogram, run.class_names
        return figures.partition_figure(*about, client_names=run.client_names)

    def _run(self) -> Any:
        from ..report.reader import Run

        return Run.load(self.run_dir)
