"""Models that an adversary makes: of recorded soft labels, and of samples that it holds itself."""

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from ..clients.base import Client
from ..errors import RunError
from ..knowledge import CLASS_SCORES, Target
from ..rounds.server import Study, study
from ..rundir.recordings import Recorded
from .subject import Subject


@dataclass(frozen=True)
class Shadow:
    """A shadow client's models.

    Attributes
    ----------
    uploading : nn.Module
        After its last fit: what the last upload is made of.
    final : nn.Module
        After its last distillation.
    round : int
        The last one with an upload; 0 = there was none.
    """

    uploading: nn.Module
    final: nn.Module
    round: int


def surrogate(
    subject: Subject, client: int, soft: Tensor, ids: Tensor, name: str, epochs: int
) -> nn.Module:
    """Return a model of a client's architecture that learnt to label transfer samples like this.

    Parameters
    ----------
    subject, client
        The run, and whose architecture.
    soft : Tensor
        ``[samples, classes]``.
    ids : Tensor
        ``[samples]``, their positions in the transfer set.
    name : str
        Of the random stream.
    epochs : int
        Passes over these samples.
    """
    model = subject.fresh(client, name)
    task = Study(
        model=model,
        x=subject.transfer[ids],
        targets={"soft": soft.float()},
        loss=soft_cross_entropy,
        epochs=epochs,
        lr=float(subject.config["fit"]["lr"]),
        seed=subject.seed(f"surrogate.{name}", client),
    )
    study(task)
    return model


def soft_cross_entropy(logits: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return the cross-entropy to soft labels; its gradient is that of KL(soft || model)."""
    return nn.functional.cross_entropy(logits, targets["soft"])


def replay(subject: Subject, client: int, x: Tensor, y: Tensor, name: str) -> Shadow:
    """Train a shadow of a client on other samples, round by round as the client was trained.

    The shadow starts afresh, fits in every round in which the client took part, with the run's own
    loop, and distils from the very teachers that the client received: whoever knows those can do
    that. Of methods that share parameters, it just goes on with its own: a shared model would
    have seen the client's samples. What an exchange adds to the fit's loss is left out.
    """
    shadow = subject.client(subject.fresh(client, name), x, y, f"replay.{name}", client)
    uploading, newest = shadow.model, 0
    for record in subject.recordings:
        if client not in record.clients:
            continue
        subject.parts.loop.fit([shadow])
        uploading, newest = copy.deepcopy(shadow.model), record.round
        _distil(subject, shadow, record)
    return Shadow(uploading.eval(), shadow.model.eval(), newest)


def _distil(subject: Subject, shadow: Client, record: Recorded) -> None:
    """Have a shadow learn from what its client was taught, if that is about samples."""
    target = record.target(shadow.index) if record.kind in CLASS_SCORES else None
    if target is None:
        return
    ids, values = record.teacher_ids, target.values
    if target.mask is not None:
        ids, values = ids[target.mask], values[target.mask]
    if not len(ids):
        return
    labels = subject.seen_labels(ids)
    teacher = Target(values, record.kind, subject.softness("teachers", record.round), labels=labels)
    objective = subject.parts.objective_at(record.round)
    subject.parts.guarded.distil([shadow], subject.transfer[ids], [teacher], objective)


def log_probability(subject: Subject, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return float64 ``[samples]``: the log-probability of each sample's class."""
    logits = subject.logits(model, x).double()
    if not logits.isfinite().all():
        raise RunError(f"{subject.run.path.name}: a model diverged, its logits are no numbers")
    return logits.log_softmax(dim=-1).gather(1, y[:, None]).squeeze(1)
