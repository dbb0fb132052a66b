"""From a configuration to a run that can start: all that the user gave is checked here."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from .admission import Expected
from .clients import Parts
from .config import RunConfig
from .data import build_federation, prepare
from .data.federation import Federation
from .errors import ConfigError
from .flat import layout
from .models import check_model, model_name
from .plugins import create
from .protocol import Strategy
from .securing import check_secure
from .server import Server
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
    server: Server
    """the server's own means"""

    def expect(self, client: int, round_: int, ids: Tensor) -> Expected:
        """Return what to accept from a client, as the exchange says."""
        model = self.server.instances[client]
        return self.parts.exchange.expected(client, round_, ids, self.federation.classes, model)

    def bytes_of(self, client: int) -> int:
        """Return the bytes of the numbers that a client uploads at most, before compression."""
        return self.expect(client, 0, torch.arange(self.federation.transfer_size)).nbytes


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
    spec = _spec(config, federation, strategy)
    parts = _parts(spec, objects.model, config.strategy["name"])
    parts.exchange.input_shape = tuple(federation.shape)
    _check_attack(config, parts, strategy)
    _check_codec(config, parts, strategy)
    instances = _instances(parts, federation)
    _check_models(config, strategy, parts, instances)
    server = Server(federation, parts.models, instances, config.seed)
    if config.secure.aggregation:
        check_secure(config, strategy, parts, instances, federation.classes)
    if (reason := strategy.refusal(server)) is not None:
        raise ConfigError("strategy", config.strategy["name"], reason)
    parameters = {
        model_name(kind): sum(p.numel() for p in model.parameters())
        for kind, model in zip(parts.models, instances, strict=True)
    }
    text = json.dumps(spec)
    (run_dir / "spec.json").write_text(text)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    return Prepared(config, run_dir, federation, strategy, parts, text, parameters, server)


def _parts(spec: dict[str, Any], models: Any, strategy: str) -> Parts:
    """Make the clients' parts; the exchange is the strategy's, and so are its parameters."""
    try:
        return Parts.from_spec(spec, models)
    except ConfigError as error:
        if not error.key.startswith("exchange"):
            raise
        raise ConfigError(
            error.key.replace("exchange", "strategy"), strategy, error.problem
        ) from error


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
    packs = config.compress["name"] == "none" and not config.secure.aggregation
    own = strategy.compress_node() if packs else None
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise ConfigError("device", "cuda", "torch sees no CUDA device; use cpu or auto")
    return replace(
        config,
        objective=objective,
        compress=own or config.compress,
        data=replace(config.data, samples_per_client=federation.samples_per_client),
        transfer=replace(config.transfer, size=federation.transfer_size),
        device=("cuda" if cuda else "cpu") if config.device == "auto" else config.device,
        resume=None,
        force=False,
    )


def _spec(config: RunConfig, federation: Federation, strategy: Strategy) -> dict[str, Any]:
    whole = config.to_dict() | {"exchange": strategy.exchange_node() or {"name": "soft_labels"}}
    nodes = ("objective", "client", "attack", "compress", "exchange", "sampler", "oracle", "secure")
    names = ("seed", "clients", "model", "fit", "distil", *nodes, "device")
    return {name: whole[name] for name in names} | {"data": federation.locator}


def _check_attack(config: RunConfig, parts: Parts, strategy: Strategy) -> None:
    """Refuse an attack that cannot poison what the strategy exchanges (nothing is fine)."""
    kinds, exchanged = parts.attack.kinds, parts.exchange.kind
    if kinds is not None and strategy.exchange is not None and exchanged not in kinds:
        problem = f"poisons {' or '.join(kinds)}, and {config.strategy['name']} has {exchanged}"
        raise ConfigError("attack", config.attack["name"], problem)


def _check_codec(config: RunConfig, parts: Parts, strategy: Strategy) -> None:
    """Refuse a codec that makes no sense for what the strategy exchanges (nothing is fine)."""
    kinds, exchanged = parts.codec.kinds, parts.exchange.kind
    if kinds is not None and strategy.exchange is not None and exchanged not in kinds:
        problem = f"is for {' or '.join(kinds)}, and {config.strategy['name']} has {exchanged}"
        raise ConfigError("compress", config.compress["name"], problem)


def _instances(parts: Parts, federation: Federation) -> list[nn.Module]:
    """Try every architecture on a dummy batch; return each client's, shared where it is one."""
    shape, classes = federation.shape, federation.classes
    kinds = {id(model): model for model in parts.models}
    built = {key: check_model(model, shape, classes) for key, model in kinds.items()}
    return [built[id(model)] for model in parts.models]


def _check_models(
    config: RunConfig, strategy: Strategy, parts: Parts, instances: list[nn.Module]
) -> None:
    """Refuse architectures that the method cannot work with."""
    named = {model_name(kind): model for kind, model in zip(parts.models, instances, strict=True)}
    problem = parts.exchange.refusal(named)
    if strategy.homogeneous and len({layout(model) for model in instances}) > 1:
        problem = "shares one model, so all clients need the same one"
    if problem is not None:
        whole = f"{config.strategy['name']} {problem}"
        raise ConfigError("model", f"[{','.join(named)}]", whole)
