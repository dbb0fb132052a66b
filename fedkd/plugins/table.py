"""Everything that can be plugged in: one row a kind of plug-in.

Whatever finds, makes, lists, documents or checks plug-ins reads this table. Base classes are in
rooms above this one, so they are named here and imported when they are asked for.
"""

from collections.abc import Iterable

from ..errors import ConfigError
from .loading import is_code, load_object
from .seam import Seam


def _key(key: str) -> str:
    return f"{key}=FILE.py:Class or {key}=package.module:Class"


SEAMS = {
    seam.name: seam
    for seam in (
        Seam(
            name="strategies",
            title="how the server fuses knowledge",
            key="strategy",
            room="strategies",
            base="fedkd.rounds.protocol:Strategy",
            own=_key("strategy"),
            check="strategies",
            adapt="fedkd.strategies.flower_adapter:adapt",
        ),
        Seam(
            name="tasks",
            title="what samples mean: loss, predictions, metrics",
            key="task",
            room="tasks",
            base="fedkd.tasks.base:Task",
            own=_key("task"),
            check="tasks",
            part="task",
        ),
        Seam(
            name="exchanges",
            title="what clients upload for a strategy, and do with a teacher",
            key="exchange",
            room="clients.exchange",
            base="fedkd.clients.exchange.base:Exchange",
            own='exchange = "FILE.py:Class" in a strategy',
            check="exchanges",
            part="exchange",
        ),
        Seam(
            name="objectives",
            title="distillation losses",
            key="objective",
            room="distillation",
            base="fedkd.distillation.base:Objective",
            own=_key("objective"),
            check="objectives",
            part="objective",
        ),
        Seam(
            name="guards",
            title="what clients learn of a teacher, and what not",
            key="guard",
            room="distillation.guards",
            base="fedkd.distillation.guards.base:Guard",
            own=f"{_key('guard')}, or a list of guards",
            check="guards",
            part="guard",
            several=True,
        ),
        Seam(
            name="models",
            title="clients' models",
            key="model",
            room="models",
            base="torch.nn:Module",
            own="model=FILE.py:Class, or a list of models, dealt to the clients in turn",
            check="models",
            shipped_as="fedkd.models:ZOO",
            filled=(
                "shape",
                "in_shape",
                "input_shape",
                "outputs",
                "classes",
                "num_classes",
                "task",
                "vocabulary",
                "per_token",
            ),
        ),
        Seam(
            name="clients",
            title="clients' training loops",
            key="client",
            room="clients",
            base="fedkd.clients.base:ClientLoop",
            own=_key("client"),
            check="loops",
            part="loop",
        ),
        Seam(
            name="attacks",
            title="what hostile clients do to the fusion",
            key="attack",
            room="clients.attacks",
            base="fedkd.clients.attacks.base:Attack",
            own=_key("attack"),
            check="attacks",
            part="attack",
        ),
        Seam(
            name="privacy_attacks",
            title="what is inferred from recorded runs",
            key="attack",
            room="leakage",
            base="fedkd.leakage.base:PrivacyAttack",
            own="fedkd attack RUN_DIR --attack FILE.py:Class",
            check="inference",
        ),
        Seam(
            name="codecs",
            title="how messages are made smaller",
            key="compress",
            room="codecs",
            base="fedkd.codecs.base:Codec",
            own=_key("compress"),
            check="codecs",
            part="codec",
        ),
        Seam(
            name="privacy",
            title="what protects private data",
            key="privacy",
            room="clients.privacy",
            base="fedkd.clients.privacy.base:Mechanism",
            own=f"{_key('privacy')}, or a list of mechanisms",
            check="mechanisms",
            part="privacy",
            several=True,
        ),
        Seam(
            name="samplers",
            title="active learning: which samples to label",
            key="sampler",
            room="clients.samplers",
            base="fedkd.clients.samplers.base:Sampler",
            own=_key("sampler"),
            check="samplers",
            part="sampler",
        ),
        Seam(
            name="oracles",
            title="active learning: who labels them",
            key="oracle",
            room="clients.oracles",
            base="fedkd.clients.oracles.base:Oracle",
            own=_key("oracle"),
            check="oracles",
            part="oracle",
        ),
        Seam(
            name="partitioners",
            title="how samples are dealt to clients; CamelCase: flwr_datasets.partitioner:NAME",
            key="data.partitioner",
            room="data",
            base="fedkd.data.partitioners:Partitioner",
            own=_key("data.partitioner"),
            check="partitioners",
            shipped_as="fedkd.data.partitioners:SHIPPED",
            filled=("num_partitions", "partition_by", "seed"),
        ),
    )
}
"""Every kind of plug-in, by name."""

PARTS = tuple(seam for seam in SEAMS.values() if seam.part)
"""Those that every process that hosts clients needs."""


def seams_of(target: str) -> list[Seam]:
    """Return the kinds of plug-in that a short name or ``FILE:Class`` may be.

    A short name may be of several kinds; a class is of one, and a function that makes models is a
    model.

    Raises
    ------
    ConfigError
        If there is no such plug-in, or it is of no kind.

    Examples
    --------
    >>> [seam.name for seam in seams_of("none")], [seam.name for seam in seams_of("knfu")]
    (['guards', 'attacks', 'codecs', 'privacy'], ['strategies'])
    """
    if is_code(target):
        return [_seam_of(target)]
    found = [seam for seam in SEAMS.values() if seam.ships(target)]
    if not found:
        names: Iterable[str] = {name for seam in SEAMS.values() for name in seam.shipped()}
        raise ConfigError("plug-in", target, "no such plug-in", names)
    return found


def _seam_of(target: str) -> Seam:
    found = load_object(target, "plug-in")
    for seam in SEAMS.values():
        if seam.takes(found):
            return seam
    if not callable(found):
        raise ConfigError("plug-in", target, f"is a {type(found).__name__}, not a class")
    if isinstance(found, type):
        bases = ", ".join(seam.base.rpartition(":")[2] for seam in SEAMS.values())
        raise ConfigError("plug-in", target, f"{found.__name__} subclasses none of {bases}")
    return SEAMS["models"]
