"""Every access to a client that a membership attack has: what it trains, and scores."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ..knowledge import CLASS_SCORES
from ..models.flat import size, unflatten
from .base import Finding
from .candidates import Candidates, Pools
from .scoring import Array, Trial, log_p, scores_of
from .shadows import Shadow, replay, surrogate
from .subject import Subject

Scored = list[tuple[Array, Array]]
"""Scores of members and of non-members, client by client."""


class Bench:
    """Trains what an attack on some clients needs, each thing once.

    Parameters
    ----------
    subject, pools
        The run, and its held-out samples.
    candidates : mapping
        The clients attacked, and the samples that each is attacked with.
    shadows, epochs, population : int
        See `Membership`.
    """

    def __init__(
        self,
        subject: Subject,
        pools: Pools,
        candidates: Mapping[int, Candidates],
        shadows: int,
        epochs: int,
        population: int,
    ) -> None:
        self.subject, self.pools = subject, pools
        self.candidates, self.targets = candidates, list(candidates)
        self.count, self.epochs, self.population = shadows, epochs, population
        self.kind = subject.recordings.kind
        attacked, again = len(self.targets), self.kind in CLASS_SCORES
        self.trained, self.total = 0, attacked * shadows + again * (attacked + 1) * (shadows + 1)

    @cached_property
    def shadows(self) -> dict[int, list[Shadow]]:
        """Shadow models of every client attacked."""
        made: dict[int, list[Shadow]] = {}
        for k in self.targets:
            data = [self.pools.gather(self.pools.shadows(k, s)) for s in range(self.count)]
            made[k] = []
            for s, (x, y) in enumerate(data):
                made[k].append(replay(self.subject, k, x, y, f"shadow.{s}"))
                self._tell()
        return made

    @cached_property
    def trials(self) -> dict[int, Trial]:
        """What each client is attacked with."""
        return {k: self._trial([k], own) for k, own in self.candidates.items()}

    def variants(self, finding: Finding) -> Iterator[tuple[str, Scored]]:
        """Yield ``"access / score"`` and its scores; note in `finding` what cannot be had."""
        offered = max(record.offered for record in self.subject.recordings)
        if offered > 1:
            finding.note(
                f"Each client chose one of {offered} teachers by samples of its own. Shadows learn "
                "from all of them, the surrogate of a teacher from the last."
            )
        if self.count:
            yield "control / loss", [self._control(k, self.trials[k]) for k in self.targets]
        final = {k: self.subject.model(k) for k in self.targets}
        yield from self._access("model", final, self._finals(), finding)
        uploads = self._uploads()
        if uploads is None:
            finding.note(f"No attack on the uploads: a model cannot be made of {self.kind}.")
        else:
            yield from self._access("knowledge", *uploads, finding)
        yield from self._teacher(finding)

    def _control(self, client: int, trial: Trial) -> tuple[Array, Array]:
        """Return the scores of a model that saw neither members nor non-members."""
        model = self.shadows[client][0].final
        return trial.split(log_p(self.subject, model, trial.x, trial.y))

    def _finals(self) -> dict[int, list[nn.Module]]:
        return {k: [one.final for one in shadows] for k, shadows in self.shadows.items()}

    def _access(
        self,
        access: str,
        models: dict[int, nn.Module],
        outs: dict[int, list[nn.Module]],
        finding: Finding,
    ) -> Iterator[tuple[str, Scored]]:
        found: dict[str, Scored] = {}
        for k in self.targets:
            others = [models[other] for other in self.targets if other != k]
            trial = self.trials[k]
            for name, scores in scores_of(
                self.subject, trial, models[k], outs[k], others, finding
            ).items():
                found.setdefault(name, []).append(trial.split(scores))
        for name, scored in found.items():
            yield f"{access} / {name}", scored

    def _uploads(self) -> tuple[dict[int, nn.Module], dict[int, list[nn.Module]]] | None:
        """Return models made of what each client uploaded, and of what its shadows would have."""
        if self.kind == "parameters":
            return self._uploaded_parameters()
        if self.kind not in CLASS_SCORES:
            return None
        models, outs = {}, {}
        for k in self.targets:
            found = self.subject.recordings.uploaded(k)
            assert found is not None  # only such clients are attacked
            soft, ids = found
            models[k] = self._surrogate(k, soft, ids, "knowledge")
            outs[k] = [
                self._surrogate(k, self._labels(one, ids), ids, f"knowledge.{s}")
                for s, one in enumerate(self.shadows[k])
            ]
        return models, outs

    def _uploaded_parameters(
        self,
    ) -> tuple[dict[int, nn.Module], dict[int, list[nn.Module]]] | None:
        models = {}
        for record in self.subject.recordings:
            for k in set(record.clients) & set(self.targets):
                vector = record.values[record.clients.index(k)]
                model = self.subject.fresh(k, "upload")
                if len(vector) != size(model):
                    return None
                models[k] = unflatten(model, vector).eval()
        return models, {k: [one.uploading for one in self.shadows[k]] for k in self.targets}

    def _teacher(self, finding: Finding) -> Iterator[tuple[str, Scored]]:
        """Attack all other targets through what one client was taught."""
        outsiders = [k for k in range(self.subject.clients) if k not in self.targets]
        for adversary in [*outsiders, *self.targets]:
            found = self.subject.recordings.taught(adversary)
            if found is not None:
                break
        else:
            finding.note("No attack through a teacher: there was none on transfer samples.")
            return
        soft, ids = found
        victims = [k for k in self.targets if k != adversary]
        if not victims:
            return
        trial = self._trial(victims, self.pools.of(*victims))
        outs = []
        for s in range(self.count):
            mean = torch.stack([self._labels(self.shadows[k][s], ids) for k in victims]).mean(0)
            outs.append(self._surrogate(adversary, mean, ids, f"teacher.{s}"))
        model = self._surrogate(adversary, soft, ids, "teacher")
        for name, scores in scores_of(self.subject, trial, model, outs, [], finding).items():
            yield f"teacher / {name}", [trial.split(scores)]

    def _surrogate(self, client: int, soft: Tensor, ids: Tensor, name: str) -> nn.Module:
        model = surrogate(self.subject, client, soft, ids, name, self.epochs)
        self._tell()
        return model

    def _tell(self) -> None:
        """Tell that another model has been trained."""
        self.trained += 1
        self.subject.tell(self.trained, max(self.trained, self.total))

    def _labels(self, shadow: Shadow, ids: Tensor) -> Tensor:
        """Return the soft labels that a shadow would upload."""
        logits = self.subject.logits(shadow.uploading, self.subject.transfer[ids])
        return (logits / self.subject.softness("uploads", shadow.round)).softmax(dim=-1)

    def _trial(self, clients: list[int], candidates: Candidates) -> Trial:
        x, y = self.pools.gather(candidates.rows)
        z = np.concatenate([self.pools.population(k, self.population) for k in clients])
        z = np.unique(z)
        seen = [
            np.isin(z, np.concatenate([self.pools.shadows(k, s) for k in clients]))
            for s in range(self.count)
        ]
        unseen = ~np.array(seen, bool).reshape(self.count, len(z))
        return Trial(len(candidates.members), x, y, *self.pools.gather(z), unseen)
