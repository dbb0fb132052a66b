"""A client picks samples to be labelled (``query.score``) and has them labelled (``annotate``).

What was picked, the scores and the labels stay at the client; the server hears numbers. Those of
each class (``tally``) are the simulation's measurements, like accuracies: no method sees them.
"""

import copy
import hashlib
from dataclasses import replace

import torch
from flwr.app import ConfigRecord, Message
from torch import Tensor, nn

from ..engine.base import MEASURED
from ..models.features import features_of
from ..rng import torch_generator
from .active import GLOBAL, ActiveLearner, frozen
from .base import Client
from .phase import Phase
from .pools import LABELS, Pools
from .samplers.base import Pool

PICKS = "pool.picks"
"""Tensor of a client between the two messages: rows, the most wanted first."""

ALONE_EPOCHS, ALONE_ACCURACY = 50, 0.99
"""When the training of a model on the client's labels alone ends."""


def score(phase: Phase) -> Message:
    """Let the sampler pick as many samples as the message says; reply how many it found.

    Who has never heard of the server asks its own model for the global one, and says so.
    """
    pools = _pools(phase)
    sampler = phase.tools.parts.sampler
    picks = sampler.pick(_view(phase, pools), int(phase.options["samples"]))
    phase.memory.tensors[PICKS] = pools.unlabelled[picks]
    numbers = {"requested": len(picks), "unlabelled": len(pools.unlabelled)}
    return phase.reply({"metrics": numbers | {"unheard": int(GLOBAL not in phase.memory.tensors)}})


def annotate(phase: Phase) -> Message:
    """Have the picked samples labelled, at most as many as the message says."""
    pools, tensors = _pools(phase), phase.memory.tensors
    picks = tensors.pop(PICKS)[: int(phase.options["samples"])]
    truth = phase.bench.private(phase.index)[1][picks]
    oracle = copy.copy(phase.tools.parts.oracle)
    oracle.classes = phase.classes
    labels, answered = oracle.label(picks, truth, phase.client.generator)
    tensors[LABELS] = pools.labels.index_copy(0, picks[answered], labels[answered])
    queried = torch.bincount(labels[answered], minlength=phase.classes).tolist()
    numbers = {"annotated": int(answered.sum()), "cost": oracle.cost * len(picks)}
    measured = {f"queried_{label}": count for label, count in enumerate(queried)}
    measured |= _tally(_pools(phase), phase.classes)
    digest = hashlib.sha256(str(picks.tolist()).encode()).hexdigest()
    about = ConfigRecord({"picks": digest})
    return phase.reply({"metrics": numbers, MEASURED: measured, "about": about})


def tally(phase: Phase) -> Message:
    """Reply how many labels of each class the client has."""
    return phase.reply({MEASURED: _tally(_pools(phase), phase.classes)})


def _tally(pools: Pools, classes: int) -> dict[str, int]:
    return {f"labelled_{label}": n for label, n in enumerate(pools.counts(classes).tolist())}


def _pools(phase: Phase) -> Pools:
    exchange = phase.tools.parts.exchange
    if not isinstance(exchange, ActiveLearner):
        raise TypeError(f"{type(exchange).__name__} has no pools of labels")
    return exchange.pools(phase)


def _view(phase: Phase, pools: Pools) -> Pool:
    """Return what a sampler sees."""
    models: dict[str, nn.Module] = {}

    def model(which: str) -> nn.Module:
        if which not in models:
            models[which] = _model(phase, pools, which)
        return models[which]

    def predict(which: str, x: Tensor) -> Tensor:
        return phase.loop.predict([replace(phase.client, model=model(which))], x)[0]

    return Pool(
        x=pools.x[pools.unlabelled],
        labelled_x=pools.x[pools.labelled],
        labelled_y=pools.labels[pools.labelled],
        counts=pools.counts(phase.classes),
        predict=predict,
        embed=lambda which, x: features_of(model(which), x.to(phase.loop.device)),
        generator=phase.client.generator,
    )


def _model(phase: Phase, pools: Pools, which: str) -> nn.Module:
    """Return one of the models that a sampler may ask for."""
    if which == "alone":
        return _alone(phase, pools)
    return frozen(phase, phase.memory.tensors.get(which))


def _alone(phase: Phase, pools: Pools) -> nn.Module:
    """Return a model trained from scratch on the client's labels only."""
    x, y = pools.x[pools.labelled], pools.labels[pools.labelled]
    model = phase.build(phase.tools.parts.models[phase.index], "alone")
    stream = torch_generator(phase.bench.seed_of(phase.index, phase.round, "alone"))
    client = Client(phase.index, model, x, y, stream)
    epochs = max(1, int(phase.loop.fit_config["epochs"]))
    for _ in range(-(-ALONE_EPOCHS // epochs)):
        phase.loop.fit([client])
        guess = phase.loop.predict([client], x)[0].argmax(dim=1)
        if (guess == y).double().mean() >= ALONE_ACCURACY:
            break
    return model
