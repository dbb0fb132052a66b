"""``log=[...]``: programs that show runs as they go, by name. Each is an extra of fedkd."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from ..config import flatten
from ..errors import ConfigError
from .base import Callback, RoundRecord, RunInfo
from .tensorboard import TensorBoard

AT_ONCE, LONGEST = 100, 500
"""Parameters that MLflow takes in one call, and characters of one."""


def check_installed(names: Iterable[str]) -> None:
    """Raise `ConfigError` for the first logger whose package is missing; imports none."""
    for name in names:
        if find_spec(name) is None:
            raise ConfigError("log", name, f"not installed; pip install 'fedkd[{name}]'")


def numbers(record: RoundRecord) -> dict[str, float]:
    """Return what a round has measured, without what it has not."""
    known = {k: v for k, v in record.scalars.items() if isinstance(v, int | float)}
    return {name: float(value) for name, value in known.items() if name != "round"}


@contextmanager
def _alone() -> Iterator[None]:
    """Keep runs side by side from making MLflow's tables at the same time, which it fails at."""
    import fcntl  # not everywhere

    with open(Path(gettempdir()) / f"fedkd-mlflow-{os.getuid()}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class MLflow(Callback):
    """Log the configuration and every round's scalars to MLflow, in the experiment ``fedkd``.

    Where to is MLflow's own affair: ``MLFLOW_TRACKING_URI``, by default ``mlflow.db`` in the
    current folder. A resumed run goes on in the run it was; its number is in ``mlflow.txt``.

    Parameters
    ----------
    run_dir : path
        The run directory.

    Raises
    ------
    ConfigError
        If it is not installed, or the store cannot be opened.
    """

    def __init__(self, run_dir: str | Path) -> None:
        check_installed(["mlflow"])
        from mlflow import MlflowClient

        self._id, self._name = Path(run_dir) / "mlflow.txt", Path(run_dir).name
        try:
            with _alone():
                self._client = MlflowClient()
                self._experiment = self._opened()
        except Exception as error:  # each store raises its own
            reason = (str(error).splitlines() or [""])[0]
            raise ConfigError("log", "mlflow", f"its store cannot be opened: {reason}") from error
        self._run = ""

    def _opened(self) -> str:
        """Return the experiment's number; it is made where there is none."""
        found = self._client.get_experiment_by_name("fedkd")
        return str(found.experiment_id if found else self._client.create_experiment("fedkd"))

    def on_run_start(self, run: RunInfo) -> None:
        """Begin a run, or go on with the one there was."""
        from mlflow.entities import Param

        if self._id.is_file():
            self._run = self._id.read_text()
            return self._client.update_run(self._run, status="RUNNING")
        self._run = self._client.create_run(self._experiment, run_name=self._name).info.run_id
        self._id.write_text(self._run)
        given = [Param(key, str(value)[:LONGEST]) for key, value in flatten(run.config).items()]
        for start in range(0, len(given), AT_ONCE):
            self._client.log_batch(self._run, params=given[start : start + AT_ONCE])
        return None

    def on_round(self, record: RoundRecord) -> None:
        """Log the round."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        found = [Metric(name, value, now, record.round) for name, value in numbers(record).items()]
        self._client.log_batch(self._run, metrics=found)

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Say whether the run has finished."""
        if self._run:
            self._client.set_terminated(self._run, "FAILED" if error else "FINISHED")


class WandB(Callback):
    """Log the configuration and every round's scalars to Weights & Biases, project ``fedkd``.

    Nothing leaves the machine unless ``WANDB_MODE=online`` says so; ``wandb sync`` uploads what is
    in the run directory's ``wandb``. A resumed run has the number it had, kept in ``wandb.txt``.

    Parameters
    ----------
    run_dir : path
        The run directory.

    Raises
    ------
    ConfigError
        If it is not installed.
    """

    def __init__(self, run_dir: str | Path) -> None:
        check_installed(["wandb"])
        self._dir, self._id = Path(run_dir), Path(run_dir) / "wandb.txt"
        self._run: Any = None

    def on_run_start(self, run: RunInfo) -> None:
        """Begin a run, or go on with the one there was."""
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "fedkd"),
            name=self._dir.name,
            id=self._id.read_text() if self._id.is_file() else None,
            resume="allow",
            dir=self._dir,
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=run.config.to_dict(),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._id.write_text(self._run.id)

    def on_round(self, record: RoundRecord) -> None:
        """Log the round."""
        self._run.log(numbers(record), step=record.round)

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Say whether the run has finished."""
        if self._run is not None:
            self._run.finish(exit_code=1 if error else 0)


LOGGERS: dict[str, type[Callback]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
"""Loggers by the name that ``log`` takes; each is made with the run directory."""


def loggers(names: Iterable[str], run_dir: Path) -> list[Callback]:
    """Return the loggers of a run."""
    made: Any = LOGGERS
    return [made[name](run_dir) for name in names]
