"""What the configuration names and nobody finds, refused before data are read."""

from collections.abc import Mapping
from typing import Any

from ..config import RunConfig
from ..config.samples import NOISE
from .dealers import KEY as PARTITIONER
from .dealers import refuse_unknown
from .holders import refuse_dealing
from .objects import is_per_client
from .rownumbers import refuse_missing
from .sources import refuse_nowhere


def refuse_foreseen(
    config: RunConfig, given: Mapping[str, Any], data: Any = None, transfer: Any = None
) -> None:
    """Refuse a partitioner, a file of row numbers or a data set that is not there.

    And keys that deal samples, where the configuration says who holds which.

    Parameters
    ----------
    config : RunConfig
    given : mapping
        Python objects in place of values, by their keys.
    data, transfer : optional
        Those in place of ``data.name`` and ``transfer.data``.

    Raises
    ------
    ConfigError
        For the first.
    """
    node = config.data.partitioner
    if PARTITIONER not in given and "_target_" not in node:
        refuse_unknown(str(node.get("name", "auto")))
    for key, value in {
        "data.split": config.data.split,
        "transfer.split": config.transfer.split,
    }.items():
        if value is not None and key not in given:
            refuse_missing(value, key)
    holder = "data.split" if "data.split" in given else config.data.held
    if holder is not None or is_per_client(data):
        column = config.data.client
        told = f"data.client={column}" if holder == "data.client" else holder
        refuse_dealing(config.data, told or "the list of data sets")
    if data is None:
        refuse_nowhere(config.data.name, "data")
    name = config.transfer.data
    if transfer is None and name and name != NOISE:
        refuse_nowhere(name, "transfer.data")
