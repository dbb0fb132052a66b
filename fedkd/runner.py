"""The composition root: data + models + clients + strategy + engine -> `RunResult`."""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from flwr.clientapp import ClientApp
from torch import nn

from .callbacks import Callback, RunInfo
from .callbacks.recorder import KnowledgeRecorder
from .callbacks.tables import Tables
from .clients import Parts, client_app
from .clients.workbench import workbench
from .config import RunConfig
from .data import Federation, build_federation, prepare
from .digest import digest, save_models
from .engine import engine_class
from .engine.state import ContextState, LiveState
from .errors import ConfigError, FedkdError, RunError
from .loop import Loop
from .models import check_model, model_name
from .plugins import create
from .protocol import Strategy
from .result import RunResult
from .rng import scoped
from .strategies.flower_adapter import adapt
from .summary import Totals, summarise

log = logging.getLogger("fedkd")


@dataclass(frozen=True)
class Objects:
    """Python objects given in place of names in the configuration."""

    strategy: Strategy | None = None
    data: Any = None
    model: Any = None


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start: everything the user gave has been checked."""

    config: RunConfig
    run_dir: Path
    federation: Federation
    strategy: Strategy
    parts: Parts
    spec: str
    parameters: dict[str, int]


def run(
    config: RunConfig,
    callbacks: Sequence[Callback] = (),
    objects: Objects | None = None,
) -> RunResult:
    """Run a configuration and write its run directory.

    Parameters
    ----------
    config : RunConfig
        What to run.
    callbacks : sequence of Callback
        Observers, beside those that write the tables.
    objects : Objects, optional
        Python objects in place of names.

    Raises
    ------
    ConfigError
        Before anything starts, if the configuration cannot be run.
    RunError
        If the run fails; the run directory says how far it came.
    """
    began = time.perf_counter()
    with _run_dir(config) as (run_dir, keep), _log_file(run_dir):
        prepared = _prepare(config, run_dir, objects or Objects())
        tables, totals = Tables(run_dir), Totals()
        watchers: list[Callback] = [tables, totals, *callbacks]
        if config.record.knowledge:
            watchers.append(KnowledgeRecorder(run_dir))
        summary: dict[str, Any] | None = None
        error: BaseException | None = None
        try:
            summary = _execute(prepared, watchers, totals, began)
        except BaseException as caught:
            error = caught
            log.exception("the run failed")
            raise
        finally:
            workbench.cache_clear()
            for watcher in watchers:
                watcher.on_run_end(summary, error)
        _write_report(run_dir)
        return RunResult(
            run_dir, summary, tables.rounds, tables.clients, _builder(prepared), keep
        )


def _prepare(config: RunConfig, run_dir: Path, objects: Objects) -> Prepared:
    """Check everything that can be checked before the engine starts."""
    config.check()
    strategy = objects.strategy or create(config.strategy, "strategies", Strategy, "strategy", adapt)
    corpus = prepare(config.data.name if objects.data is None else objects.data)
    other = prepare(config.transfer.data, key="transfer.data") if config.transfer.data else None
    federation = build_federation(config, corpus, other, run_dir)
    config = _resolved(config, federation, strategy)
    spec = _spec(config, federation)
    parts = Parts.from_spec(json.loads(spec), objects.model)
    parameters = _check_models(config, parts, federation, strategy)
    if strategy.needs_labels and not config.transfer.labelled:
        problem = f"{config.strategy['name']} needs the transfer set's labels; set it to true"
        raise ConfigError("transfer.labelled", False, problem)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    (run_dir / "spec.json").write_text(spec)
    return Prepared(config, run_dir, federation, strategy, parts, spec, parameters)


def _resolved(config: RunConfig, federation: Federation, strategy: Strategy) -> RunConfig:
    """Return the configuration with every ``auto`` and default replaced by what it stands for."""
    chosen = dict(config.objective)
    if chosen["name"] == "auto":
        chosen["name"] = strategy.objective
    if chosen["name"] in ("kl", "reverse_kl", "taid", "sinkd"):
        chosen.setdefault("temperature", config.distil.temperature)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return replace(
        config,
        objective=chosen,
        data=replace(config.data, samples_per_client=federation.samples_per_client),
        transfer=replace(config.transfer, size=federation.transfer_size),
        device=device if config.device == "auto" else config.device,
    )


def _spec(config: RunConfig, federation: Federation) -> str:
    """Return the JSON that a ClientApp needs, here or in a deployment."""
    whole = config.to_dict()
    names = ("seed", "clients", "fit", "distil", "objective", "client", "device")
    spec = {name: whole[name] for name in names} | {"data": federation.locator}
    models = config.model if isinstance(config.model, list) else [config.model]
    return json.dumps(spec | {"model": [model_name(model) for model in models]})


def _check_models(
    config: RunConfig, parts: Parts, federation: Federation, strategy: Strategy
) -> dict[str, int]:
    """Try every architecture on a dummy batch; return their numbers of parameters."""
    kinds = {model_name(model): model for model in parts.models}
    if strategy.homogeneous and len(kinds) > 1:
        problem = f"{config.strategy['name']} shares one model, so all clients need the same one"
        raise ConfigError("model", list(kinds), problem)
    built = {
        name: check_model(model, federation.shape, federation.classes)
        for name, model in kinds.items()
    }
    return {name: sum(p.numel() for p in model.parameters()) for name, model in built.items()}


def _execute(
    prepared: Prepared, watchers: Sequence[Callback], totals: Totals, began: float
) -> dict[str, Any]:
    """Run the engine, keep the models and return the summary."""
    config, federation = prepared.config, prepared.federation
    sizes = [int(size) for size in federation.sizes]
    info = RunInfo(
        config,
        prepared.run_dir,
        federation.classes,
        sizes,
        federation.transfer_size,
        prepared.parameters,
    )
    for watcher in watchers:
        watcher.on_run_start(info)
    loop = Loop(config, prepared.strategy, federation, watchers)
    engine = engine_class(config.engine.name)(_factory(prepared), sizes, config.engine)
    try:
        engine.run(loop.run)
    except KeyboardInterrupt:
        loop.cancel()
        raise
    states, server = loop.final_states, prepared.strategy.arrays()
    save_models(prepared.run_dir / "models", states, server)
    startup = (loop.started or began) - began
    summary = summarise(config, totals, digest(states, server), began, startup)
    (prepared.run_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _factory(prepared: Prepared) -> Callable[[], ClientApp]:
    """Return what builds the ClientApp in each process; it must not drag the run along."""
    spec, parts = prepared.spec, prepared.parts
    state = ContextState if prepared.config.engine.name == "flower" else LiveState
    return lambda: client_app(spec, state=state(), parts=parts)


def _builder(prepared: Prepared) -> Callable[[int], nn.Module]:
    from .models import build

    models, shape = prepared.parts.models, prepared.federation.shape
    classes = prepared.federation.classes

    def make(client: int) -> nn.Module:
        with scoped(0):
            return build(models[client], shape, classes)

    return make


@contextmanager
def _run_dir(config: RunConfig) -> Iterator[tuple[Path, Any]]:
    """Make the run directory; refuse one that already holds a run."""
    if config.run_dir is None:
        keep = tempfile.TemporaryDirectory(prefix="fedkd-")
        yield Path(keep.name), keep
        return
    path = Path(config.run_dir).expanduser()
    if (path / "config.yaml").exists():
        raise ConfigError("run_dir", path, "already holds a run; choose another or remove it")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("run_dir", path, f"cannot be made: {error.strerror}") from error
    yield path, None


@contextmanager
def _log_file(run_dir: Path) -> Iterator[None]:
    """Write fedkd's log messages to ``log.txt``."""
    handler = logging.FileHandler(run_dir / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


def _write_report(run_dir: Path) -> None:
    """Render the report; a report that cannot be drawn must not cost the run."""
    from .report import render

    try:
        render([run_dir])
    except (OSError, ValueError, FedkdError):
        log.exception("the report could not be written")


__all__ = ["Objects", "RunError", "RunResult", "run"]
