"""From a configuration to a run that can start: all that the user gave is checked here."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from .clients import Parts
from .config import RunConfig
from .data import build_federation, prepare
from .data.federation import Federation
from .errors import ConfigError
from .models import check_model, model_name
from .plugins import create
from .protocol import Strategy
from .strategies.flower_adapter import adapt


@dataclass(frozen=True)
class Objects:
    """Python objects given in place of names in the configuration."""

    strategy: Strategy | None = None
    data: Any = None
    model: Any = None


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start."""

    config: RunConfig
    run_dir: Path
    federation: Federation
    strategy: Strategy
    parts: Parts
    spec: str
    """the JSON that a ClientApp needs, here or in a deployment"""
    parameters: dict[str, int]
    """trainable parameters of each architecture"""


def prepare_run(config: RunConfig, run_dir: Path, objects: Objects) -> Prepared:
    """Build and check a run's pieces, and write ``config.yaml`` and ``spec.json``.

    Raises
    ------
    ConfigError
        For the first thing that no run could use.
    """
    config.check()
    strategy = objects.strategy or create(
        config.strategy, "strategies", Strategy, "strategy", adapt
    )
    if strategy.needs_labels and not config.transfer.labelled:
        problem = f"{config.strategy['name']} needs the transfer set's labels; set it to true"
        raise ConfigError("transfer.labelled", False, problem)
    federation = _federation(config, run_dir, objects.data)
    config = _resolved(config, federation, strategy)
    spec = _spec(config, federation)
    parts = Parts.from_spec(spec, objects.model)
    _check_attack(config, parts, strategy)
    parameters = _check_models(config, parts, federation, strategy)
    text = json.dumps(spec)
    (run_dir / "spec.json").write_text(text)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    return Prepared(config, run_dir, federation, strategy, parts, text, parameters)


def _federation(config: RunConfig, run_dir: Path, data: Any) -> Federation:
    corpus = prepare(config.data.name if data is None else data)
    other = prepare(config.transfer.data, key="transfer.data") if config.transfer.data else None
    federation: Federation = build_federation(config, corpus, other, run_dir)
    return federation


def _resolved(config: RunConfig, federation: Federation, strategy: Strategy) -> RunConfig:
    """Return the configuration with every ``auto`` and default replaced by what it stands for."""
    objective = dict(config.objective)
    if objective["name"] == "auto":
        objective["name"] = strategy.objective
    objective.setdefault("temperature", config.distil.temperature)
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise ConfigError("device", "cuda", "torch sees no CUDA device; use cpu or auto")
    return replace(
        config,
        objective=objective,
        data=replace(config.data, samples_per_client=federation.samples_per_client),
        transfer=replace(config.transfer, size=federation.transfer_size),
        device=("cuda" if cuda else "cpu") if config.device == "auto" else config.device,
        resume=None,
        force=False,
    )


def _spec(config: RunConfig, federation: Federation) -> dict[str, Any]:
    whole = config.to_dict()
    nodes = ("objective", "client", "attack")
    names = ("seed", "clients", "model", "fit", "distil", *nodes, "device")
    return {name: whole[name] for name in names} | {"data": federation.locator}


def _check_attack(config: RunConfig, parts: Parts, strategy: Strategy) -> None:
    """Refuse an attack that cannot poison what the strategy exchanges (nothing is fine)."""
    kinds, exchanged = parts.attack.kinds, strategy.exchange
    if kinds is not None and exchanged is not None and exchanged not in kinds:
        problem = f"poisons {' or '.join(kinds)}, and {config.strategy['name']} has {exchanged}"
        raise ConfigError("attack", config.attack["name"], problem)


def _check_models(
    config: RunConfig, parts: Parts, federation: Federation, strategy: Strategy
) -> dict[str, int]:
    """Try every architecture on a dummy batch; return their numbers of parameters."""
    kinds = list({id(model): model for model in parts.models}.values())
    shape, classes = federation.shape, federation.classes
    built = [check_model(model, shape, classes) for model in kinds]
    names = [model_name(model) for model in kinds]
    layouts = {tuple((k, v.shape) for k, v in model.state_dict().items()) for model in built}
    if strategy.homogeneous and len(layouts) > 1:
        problem = f"{config.strategy['name']} shares one model, so all clients need the same one"
        raise ConfigError("model", f"[{','.join(names)}]", problem)
    sizes = [sum(p.numel() for p in model.parameters()) for model in built]
    return dict(zip(names, sizes, strict=True))
