"""The virtual clock of a run: its devices are kept in ``RUN_DIR/system.csv``."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ..atomic import write_text
from ..config import RunConfig
from ..engine.system import VirtualClock, devices
from ..engine.system.files import written
from ..errors import ConfigError
from ..models import model_names
from ..models.counting import operations
from ..models.shapes import Shape
from ..rounds.protocol import Strategy
from ..rounds.server import Server
from ..rounds.work import Work

FILE = "system.csv"


def virtual_clock(
    config: RunConfig, strategy: Strategy, server: Server, kind: str, sizes: Sequence[int]
) -> VirtualClock | None:
    """Return a run's virtual clock, if it has one.

    Parameters
    ----------
    config, strategy, server
        The run's.
    kind : str
        The kind of knowledge that clients exchange.
    sizes : sequence of int
        Samples that each client trains on.

    Raises
    ------
    ConfigError
        If its devices cannot be read.
    """
    found = devices(config.system, config.population, config.seed)
    work = Work(config, strategy, server, kind, sizes, _operations)
    return VirtualClock(found, work, config.system.deadline) if found else None


def keep_devices(clock: VirtualClock | None, run_dir: Path, same: bool) -> None:
    """Write the devices into the run directory.

    Raises
    ------
    ConfigError
        If they must be the same as before, and are not.
    """
    path, text = run_dir / FILE, written(clock.devices) if clock else ""
    if same and path.is_file() and path.read_text() != text:
        problem = "the devices (system) changed since the run began; force=true goes on anyway"
        raise ConfigError("resume", run_dir, problem)
    if clock is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, text)


def uncounted(clock: VirtualClock | None, server: Server) -> list[str]:
    """Return what to say of models in which torch sees no operations."""
    if clock is None:
        return []
    each = dict(zip(model_names(server.models), server.instances, strict=True))
    names = [name for name, model in each.items() if not operations(model, server.federation.shape)]
    what = "the virtual clock takes two a parameter and sample"
    return [f"model={name}: torch counts no operations in it; {what}" for name in names]


def _operations(model: nn.Module, shape: Shape) -> float:
    """Return a forward pass's operations; two a parameter where torch sees none."""
    return operations(model, shape) or 2.0 * sum(one.numel() for one in model.parameters())
