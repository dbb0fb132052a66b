"""What clients do in federated active learning, whatever they exchange: `ActiveLearner`.

Cao, Shi, Yu, Wang, Tao, "Knowledge-Aware Federated Active Learning with Non-IID Data", ICCV 2023,
arXiv 2211.13579. Confidence: certain (official code and its Algorithm 1). The local update (KCFU)::

    L    = CE(z(x) + log n, y) + kd_weight * L_kd             n: labelled samples of each class
    u~   = lam * u + (1 - lam) * u[partner]                   lam ~ Beta(beta, beta), u unlabelled
    L_kd = mean_b( omega_b / C * KL(softmax(zt(u~_b)) || softmax(z(u~_b))) )
    omega_b = lam * Gamma[c_b] + (1 - lam) * Gamma[c_partner(b)],   c = argmax zt(u~)

zt is the global model, frozen; unlabelled images are augmented as labelled ones are. Where the
official code strays from its intent, this does what is meant: every sample has a partner of its
own, the unlabelled stream is today's pool, the frozen teacher is in evaluation mode.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..maths.imbalance import class_weights, compensation, log_prior, mixed_weights
from ..models.flat import flatten, unflatten
from .asked import fitted
from .augment import flip_crop
from .exchange.phase import Phase
from .pools import LABELS, Pools, initial_labels

LOCAL, GLOBAL = "local", "global"
"""Tensors of a client: its model right after its last fit, and the last one that it had from the
server (or made of what it had from there). Its model need be neither: a reply that came too late
leaves it the one that it has trained."""


class ActiveLearner:
    """Pools of labels, and the local update on them.

    Parameters
    ----------
    initial : float
        Share of each client's samples that is labelled from the start, in (0, 1].
    balanced : bool
        Whether private training is with balanced softmax.
    kd_weight : float
        Weight of the compensation, >= 0; 0 switches it off.
    beta : float
        Both parameters of the Beta distribution of mixing, > 0.
    absent : {"zero", "max"}
        Compensation weight of classes without labels.
    persist : bool
        Whether the optimiser's state lives on from round to round, within a cycle.
    milestone : int or None
        Local epoch of a cycle from which the learning rate is a tenth.
    """

    def __init__(
        self,
        initial: float = 0.1,
        balanced: bool = True,
        kd_weight: float = 1.0,
        beta: float = 2.0,
        absent: Literal["zero", "max"] = "zero",
        persist: bool = True,
        milestone: int | None = None,
    ) -> None:
        if not 0 < initial <= 1:
            raise ValueError(f"initial={initial} must be in (0, 1]")
        if not 0 <= kd_weight < math.inf:
            raise ValueError(f"kd_weight={kd_weight} must be at least 0 and finite")
        if not 0 < beta < math.inf:
            raise ValueError(f"beta={beta} must be greater than 0 and finite")
        if milestone is not None and milestone < 1:
            raise ValueError(f"milestone={milestone} must be at least 1")
        self.initial, self.balanced, self.kd_weight = initial, balanced, kd_weight
        self.beta, self.absent = beta, absent
        self.persist, self.milestone = persist, milestone

    def reckons(self) -> str | None:
        """Say what the compensation does with samples."""
        return (
            "mixes unlabelled samples (not with strategy.kd_weight=0)" if self.kd_weight else None
        )

    def pools(self, phase: Phase) -> Pools:
        """Return the client's pools, drawn on first use."""
        x, truth = phase.bench.private(phase.index)
        tensors = phase.memory.tensors
        if LABELS not in tensors:
            seed = phase.bench.seed_of(phase.index, 0, "pool")
            tensors[LABELS] = initial_labels(truth, self.initial, seed)
        return Pools(x, tensors[LABELS])

    def update(self, phase: Phase, teacher: nn.Module | None) -> dict[str, float]:
        """Fit the client's model on its labelled pool; `teacher` compensates, if there is one."""
        pools, client = self.pools(phase), phase.client
        if phase.options.get("new-cycle"):
            self._forget(client.tensors)
        with self._prepared(phase, pools, teacher):
            numbers = fitted(phase.loop, client)
        client.tensors[LOCAL] = flatten(client.model)
        return numbers | {"labelled": float(len(pools.labelled))}

    @contextmanager
    def _prepared(self, phase: Phase, pools: Pools, teacher: nn.Module | None) -> Iterator[None]:
        """Let the loop see the labelled pool only, and the rest through the compensation."""
        client, rows = phase.client, pools.labelled
        everything = client.x, client.y
        counts = pools.counts(phase.classes)
        client.x, client.y = pools.x[rows], pools.labels[rows]
        if self.balanced:
            client.log_prior = log_prior(counts).to(phase.loop.device)
        if teacher is not None and self.kd_weight and len(pools.unlabelled):
            client.extra_loss = self._compensating(phase, pools, teacher, counts)
        if self.persist:
            client.carried = client.tensors
            client.schedule = self._schedule(phase)
        yield
        client.x, client.y = everything

    def _compensating(
        self, phase: Phase, pools: Pools, teacher: nn.Module, counts: Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        client, device = phase.client, phase.loop.device
        gamma = class_weights(counts, self.absent).to(device)
        augment = flip_crop if phase.loop.fit_config.get("augment") else None
        stream = _endless(pools.unlabelled, client.generator)
        chance = np.random.default_rng(phase.bench.seed_of(phase.index, phase.round, "mixing"))

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            del logits
            u = pools.x[torch.stack([next(stream) for _ in range(len(labels))])].to(device)
            u = augment(u, client.generator) if augment else u
            partner = torch.randperm(len(u), generator=client.generator).to(device)
            share = torch.from_numpy(chance.beta(self.beta, self.beta, len(u))).float().to(device)
            lam = share.view(-1, *[1] * (u.dim() - 1))
            mixed = lam * u + (1 - lam) * u[partner]
            with torch.no_grad():
                target = teacher(mixed)
            weights = mixed_weights(target, partner, share, gamma)
            return self.kd_weight * compensation(client.model(mixed), target, weights)

        return loss

    def _schedule(self, phase: Phase) -> Callable[[int], float] | None:
        """Count the cycle's local epochs; return the learning rate's factor in this fit."""
        if self.milestone is None:
            return None
        tensors, milestone = phase.client.tensors, self.milestone
        done = int(tensors.get("epochs", torch.zeros(())).item())
        tensors["epochs"] = torch.tensor(done + phase.loop.fit_config["epochs"])
        return lambda epoch: 1.0 if done + epoch < milestone else 0.1

    def _forget(self, tensors: dict[str, Tensor]) -> None:
        """Begin a cycle: a fresh optimiser, epochs counted from 0."""
        for name in [n for n in tensors if n.startswith("optimizer.") or n == "epochs"]:
            del tensors[name]


def frozen(phase: Phase, vector: Tensor | None = None) -> nn.Module:
    """Return a copy of the client's model in evaluation mode, with other parameters if given."""
    model = copy.deepcopy(phase.memory.model)
    return (model if vector is None else unflatten(model, vector)).eval()


def _endless(rows: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield rows in one random order after the other."""
    while True:
        yield from rows[torch.randperm(len(rows), generator=generator)]
