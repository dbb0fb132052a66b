"""What a configuration stands for, once its data and its strategy are known."""

from dataclasses import replace
from typing import Any

import torch

from ..config import RunConfig
from ..config.samples import NOISE
from ..data.corpus import Corpus
from ..data.federation import Federation
from ..data.sources import place_of
from ..engine.cluster import cores
from ..engine.placement import actors_by_default, gpu_share
from ..errors import ConfigError
from ..models import settled
from ..plugins import parameters
from ..plugins.loading import is_code
from ..plugins.table import PARTS, SEAMS
from ..rounds.protocol import Strategy


def resolved(config: RunConfig, strategy: Strategy) -> RunConfig:
    """Return the configuration with ``auto`` and defaults replaced by what they stand for.

    Those that depend on the data stay: see `sized`.
    """
    own, objective = strategy.objective_node(), dict(config.objective)
    if objective["name"] == "auto":
        objective = own | objective | {"name": own["name"]}
    softness = own.get("temperature", config.distil.temperature)
    if _softens(objective["name"]) and not isinstance(
        softness, dict
    ):  # a schedule's is each round's
        objective.setdefault("temperature", softness)
    packing = strategy.compress_node() if config.compress["name"] == "none" else None
    if packing and config.secure.aggregation:
        packing["up"] = False  # masked integers cannot be packed
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise ConfigError("device", "cuda", "torch sees no CUDA device; use cpu or auto")
    device = ("cuda" if cuda else "cpu") if config.device == "auto" else config.device
    alone = device == "cpu" or config.engine.name == "flower" or config.engine.timeout
    stack = "off" if config.engine.stack == "auto" and alone else config.engine.stack
    engine, there = replace(config.engine, stack=stack), (torch.cuda.device_count(), cores())
    engine = replace(engine, actors=actors_by_default(engine, device, *there))
    engine = replace(engine, gpus_per_actor=gpu_share(engine, device, *there))
    return replace(
        config,
        objective=objective,
        compress=packing or config.compress,
        device=device,
        engine=engine,
        data=replace(config.data, name=_anywhere(config.data.name)),
        transfer=replace(config.transfer, data=_anywhere(config.transfer.data, NOISE)),
        resume=None,
        force=False,
        trust=False,
    )


def _softens(name: str) -> bool:
    """Say whether an objective has a temperature; so have all that fedkd knows."""
    return not is_code(name) or "temperature" in parameters(SEAMS["objectives"].resolve(name))


def _anywhere(name: Any, reserved: str | None = None) -> Any:
    """Return a file or folder so that a resume finds it from any other; names stay."""
    path = place_of(name) if isinstance(name, str) and name != reserved else None
    return name if path is None else str(path.resolve())


def wanted(config: RunConfig) -> str | None:
    """Return what labels are to be for the task: classes, numbers, tokens, or None, as they are.

    Raises
    ------
    ConfigError
        If there is no such task.
    """
    name = config.task.get("name")
    if name == "auto":
        return None
    seam = SEAMS["tasks"]
    if name not in seam.shipped() and ":" not in str(name):
        raise ConfigError("task", name, "no such task", ["auto", *seam.shipped()])
    found: str = seam.resolve(str(name)).targets
    return found


def with_task(config: RunConfig, corpus: Corpus) -> RunConfig:
    """Return the configuration with the task that ``auto`` stands for, as labels are."""
    if config.task["name"] != "auto":
        return config
    name = "regression" if corpus.targets.numeric else "classification"
    return replace(config, task=config.task | {"name": name})


def sized(config: RunConfig, federation: Federation, usual: str) -> RunConfig:
    """Return the configuration with the numbers of samples that have been dealt, and the models.

    `usual` is the model of pictures and numbers that ``model=auto`` stands for.
    """
    tokens = federation.targets.tokens is not None
    return replace(
        config,
        model=settled(config.model, federation.shape, tokens, usual),
        data=replace(
            config.data,
            samples_per_client=federation.samples_per_client,
            alpha=config.data.alpha if federation.dealt and not tokens else None,
        ),
        transfer=replace(config.transfer, size=federation.transfer_size),
    )


def softness(config: RunConfig, strategy: Strategy, kind: str) -> dict[str, Any]:
    """Return the softmax temperatures of what clients upload and of teachers.

    Each is a number, or a list of one for each round where they differ.
    """
    every = [config.distil.temperature_at(number) for number in range(1, config.rounds + 1)]
    ways = {"uploads": strategy.softness, "teachers": strategy.teacher_softness}
    found = {name: [way(kind, one) for one in every] for name, way in ways.items()}
    return {name: each if len({*each}) > 1 else each[0] for name, each in found.items()}


def spec_of(config: RunConfig, strategy: Strategy) -> dict[str, Any]:
    """Return what a ClientApp needs to know of a run beside its data, JSON-ready."""
    whole = config.to_dict() | {"exchange": strategy.exchange_node() or {"name": "soft_labels"}}
    nodes = [*(seam.key for seam in PARTS), "secure"]
    names = ("seed", "clients", "model", "transfer", "fit", "distil", *nodes, "device")
    return {name: whole[name] for name in names}
