"""What no data could mend is refused before any are read: a large file takes minutes."""

from ..clients.guarding import Guards
from ..clients.privacy.protection import Protection
from ..config import RunConfig
from ..data import refuse_foreseen
from ..engine.system import devices
from ..models import factories
from ..plugins.table import PARTS, SEAMS
from .objects import Objects


def foresee(config: RunConfig, objects: Objects) -> None:
    """Refuse names, parameters and files that cannot be, whatever the data are.

    Nothing is made of them yet: that takes the task, and the number of clients.

    Raises
    ------
    ConfigError
        For the first.
    """
    refuse_foreseen(config, objects.held, objects.data, objects.transfer)
    for seam in PARTS:
        node = getattr(config, seam.key, None)  # what is exchanged is the strategy's
        given = getattr(objects, seam.key, None)  # an object has been made already
        if node is not None and given is None and not seam.several and node["name"] != "auto":
            seam.vet(node)
    for node in Protection.nodes(config.privacy).values():
        SEAMS["privacy"].vet(node)
    if objects.guard is None:
        for node in Guards.nodes(config.guard).values():
            SEAMS["guards"].vet(node)
    factories(config.model if objects.model is None else objects.model, config.population)
    if isinstance(config.clients, int):
        devices(config.system, config.clients, config.seed)
