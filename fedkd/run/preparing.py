"""From a configuration to a run that can start: all that the user gave is checked here."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..atomic import write_text
from ..clients import Parts
from ..clients.privacy.planning import Affordable, affordable
from ..config import EngineConfig, RunConfig
from ..config.yamls import to_yaml
from ..data import (
    build_federation,
    check_samples,
    corpora,
    located,
    numbered,
    partition_notes,
)
from ..data.federation import Federation
from ..engine.system import VirtualClock
from ..errors import ConfigError
from ..knowledge.admission import Expected
from ..models import factories, model_names, settled
from ..plugins.table import SEAMS
from ..privacy.ledger import Ledger
from ..rounds.protocol import Strategy
from ..rounds.server import Server
from ..rundir.checkpoint import Checkpoint
from ..tasks.rows import each_of
from .aligning import check_heads
from .alone import check_alone
from .foreseeing import foresee
from .making import called_as_given, instances_of, pieces, private_strategy, settled_exchange
from .notes import idle, levelled
from .objects import Objects
from .refusals import (
    check_choice,
    check_inputs,
    check_models,
    check_privacy,
    without_replay,
)
from .resolving import resolved, sized, softness, spec_of, wanted, with_task
from .securing import check_secure
from .teaching import check_objective, lesson_of
from .virtual import keep_devices, uncounted, virtual_clock


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
    sizes: Sequence[int]
    """samples that each client trains on"""
    clock: VirtualClock | None = None
    """what rounds take on the clients' devices"""
    ledger: Ledger | None = None
    """what clients spend of their privacy"""
    privacy: Mapping[str, Any] = field(default_factory=dict)
    """what the summary says of it beside that"""
    notes: Sequence[str] = ()
    """what the user should know before it starts"""

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of what a model returns for a sample."""
        return self.parts.task.outputs(self.federation.targets)

    def expect(self, client: int, round_: int, ids: Tensor) -> Expected:
        """Return what to accept from a client, as the exchange says."""
        model = self.server.instances[client]
        exchange = self.parts.exchange
        expected = exchange.expected(client, round_, ids, self.server.width, model)
        return replace(expected, samples=len(self.federation.indices(client)))

    def finishing(self, client: int, round_: int) -> Expected | None:
        """Return what to accept from a client after the last round, if the method has it upload."""
        expected = self.expect(client, round_, torch.arange(0))
        model = self.server.instances[client]
        return self.parts.exchange.finishing(expected, self.server.width, model)

    def bytes_of(self, client: int) -> int:
        """Return the bytes of the numbers that a client uploads at most, before compression."""
        rows = self.federation.transfer_size * self.server.each
        last, usual = self.finishing(client, 0), self.expect(client, 0, torch.arange(rows))
        return max(usual.nbytes, last.nbytes if last else 0)


def prepare_run(
    config: RunConfig,
    run_dir: Path,
    objects: Objects,
    resumed: Checkpoint | None = None,
    ahead: Callable[[EngineConfig], Any] = lambda engine: None,
) -> Prepared:
    """Build and check a run's pieces, and write ``config.yaml`` and ``spec.json``.

    Parameters
    ----------
    config : RunConfig
        What to run.
    run_dir : Path
        Where to write.
    objects : Objects
        Python objects in place of names.
    resumed : Checkpoint, optional
        Where the run goes on: what it has spent of its privacy is spent.
    ahead : callable, optional
        Called once what can be refused without dealing samples has not been.

    Raises
    ------
    ConfigError
        For the first thing that no run could use.
    """
    config.check()
    own: Strategy = objects.strategy or SEAMS["strategies"].create(config.strategy)
    config = located(config, objects.held)
    foresee(config, objects)
    told = config.task["name"] != "auto" and config.clients != "auto"
    made = pieces(config, own, objects) if told else None  # what data cannot mend is refused now
    sources = corpora(config, objects.data, objects.transfer, wanted(config))
    given = numbered(config, sources[0], objects.held)
    given.check()
    config = with_task(given, sources[0])
    strategy, parts = made or pieces(config, own, objects)
    config, known = resolved(config, strategy), check_samples(given, *sources, objects.held)
    ahead(config.engine)
    federation: Federation = build_federation(given, *sources, run_dir, objects.held, known)
    usual, resumes = strategy.usual_model, given.resume is not None
    config = sized(config, federation, usual)
    parts.exchange.input_shape = federation.shape
    about = federation.shape, federation.targets.tokens is not None, usual
    models = settled(objects.model, *about) or config.model
    parts.models = factories(models, config.population)
    outputs = parts.task.outputs(federation.targets)
    with called_as_given(models, parts):
        instances = instances_of(parts, federation, config.task["name"])
        _check_models(config, strategy, parts, instances, federation)
    config = without_replay(config, parts, resumes)
    check_privacy(config, strategy, parts, instances)
    node = strategy.exchange_node()
    notes = [*partition_notes(federation), *strategy.settle(config, instances)]
    notes += idle(config, strategy, parts) + levelled(config, strategy, parts, outputs[-1])
    if strategy.exchange_node() != node:
        parts.exchange = settled_exchange(config, strategy, parts.exchange)
    afforded = _affordable(config, parts, strategy, federation, resumed)
    config = replace(afforded.config, distil=afforded.config.distil.over(afforded.config.rounds))
    parts.distil = config.distil
    parts.privacy.calibrate(config.privacy.get("noise_multiplier"))
    server = Server(federation, parts.models, instances, config.seed, outputs, config.task["name"])
    if (reason := strategy.refusal(server)) is not None:
        raise ConfigError("strategy", config.strategy["name"], reason)
    strategy = private_strategy(config, strategy, parts)
    if config.secure.aggregation:
        check_secure(config, strategy, parts, instances, outputs[-1])
    sizes = parts.exchange.sizes = [parts.privacy.kept(size) for size in server.sizes]
    taught = lesson_of(strategy, parts) is not None
    check_alone(config, parts, instances, federation.shape, sizes, taught)
    clock = virtual_clock(config, strategy, server, parts.exchange.kind, sizes)
    keep_devices(clock, run_dir, resumes and not given.force)
    notes += uncounted(clock, server)
    parameters = {
        name: sum(p.numel() for p in model.parameters())
        for name, model in zip(model_names(parts.models), instances, strict=True)
    }
    text = _written(config, strategy, parts, federation, run_dir)
    return Prepared(
        config=config,
        run_dir=run_dir,
        federation=federation,
        strategy=strategy,
        parts=parts,
        spec=text,
        parameters=parameters,
        server=server,
        sizes=sizes,
        clock=clock,
        ledger=afforded.ledger,
        privacy=afforded.summary,
        notes=notes,
    )


def _check_models(
    config: RunConfig,
    strategy: Strategy,
    parts: Parts,
    instances: list[nn.Module],
    federation: Federation,
) -> None:
    """Refuse models that the samples, the method, or what clients learn by cannot work with.

    And samples that the method cannot work with.
    """
    check_inputs(config, parts, federation.shape)
    check_heads(config, parts, instances, federation.classes)
    check_models(config, strategy, parts, instances)
    rows = each_of(parts.task.outputs(federation.targets))
    check_objective(config, strategy, parts, instances, federation.shape, rows)
    check_choice(config, strategy, parts, federation)


def _written(
    config: RunConfig, strategy: Strategy, parts: Parts, federation: Federation, run_dir: Path
) -> str:
    """Write ``spec.json`` and ``config.yaml``; return what is in the first."""
    made = {
        "data": federation.locator,
        "softness": softness(config, strategy, parts.exchange.kind),
        "outputs": list(parts.task.outputs(federation.targets)),
        "score": parts.task.score.about(),
    }
    text = json.dumps(spec_of(config, strategy) | made)
    write_text(run_dir / "spec.json", text)
    write_text(run_dir / "config.yaml", to_yaml(config.to_dict()))
    return text


def _affordable(
    config: RunConfig,
    parts: Parts,
    strategy: Strategy,
    federation: Federation,
    resumed: Checkpoint | None,
) -> Affordable:
    """Settle the noise, and the rounds that the budget allows."""
    sizes = [len(federation.indices(client)) for client in range(config.population)]
    each = each_of(parts.task.outputs(federation.targets))
    return affordable(config, parts.privacy, strategy, sizes, resumed, each)
