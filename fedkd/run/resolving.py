"""What a configuration stands for, once its data and its strategy are known."""

from dataclasses import replace
from typing import Any

import torch

from ..config import RunConfig
from ..data.federation import Federation
from ..engine.cluster import cores
from ..engine.placement import actors_by_default, gpu_share
from ..errors import ConfigError
from ..plugins.table import PARTS
from ..rounds.protocol import Strategy


def resolved(config: RunConfig, strategy: Strategy) -> RunConfig:
    """Return the configuration with ``auto`` and defaults replaced by what they stand for.

    Those that depend on the data stay: see `sized`.
    """
    own, objective = strategy.objective_node(), dict(config.objective)
    if objective["name"] == "auto":
        objective = own | objective | {"name": own["name"]}
    objective.setdefault("temperature", own.get("temperature", config.distil.temperature))
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
        resume=None,
        force=False,
        trust=False,
    )


def sized(config: RunConfig, federation: Federation) -> RunConfig:
    """Return the configuration with the numbers of samples that have been dealt."""
    return replace(
        config,
        data=replace(config.data, samples_per_client=federation.samples_per_client),
        transfer=replace(config.transfer, size=federation.transfer_size),
    )


def spec_of(config: RunConfig, strategy: Strategy) -> dict[str, Any]:
    """Return what a ClientApp needs to know of a run beside its data, JSON-ready."""
    whole = config.to_dict() | {"exchange": strategy.exchange_node() or {"name": "soft_labels"}}
    nodes = [*(seam.key for seam in PARTS), "secure"]
    names = ("seed", "clients", "model", "transfer", "fit", "distil", *nodes, "device")
    return {name: whole[name] for name in names}
