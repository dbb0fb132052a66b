"""What an attack is. Subclass `Attack` and override `poison` (or `options`) to write one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from torch import Tensor

from ...engine.base import MEASURED, round_of
from ...engine.state import tensors_of
from ...knowledge import CLASS_SCORES, kind_named, to_arrays, to_tensor
from ...rng import SERVER, stream, torch_generator

RECORD = "attack"
"""The record of ``Context.state`` where a hostile client keeps its last teacher."""


@dataclass(frozen=True)
class View:
    """What a hostile client knows when it replies with its knowledge.

    Attributes
    ----------
    kind : str
        Of knowledge, such as ``"soft_labels"`` or ``"logits"``.
    own : Tensor
        ``[samples, classes]``: its honest reply. Of ``"parameters"`` it is one of the model's
        tensors after another where they travel as such (Flower's strategies), else all as a vector.
    teacher : Tensor
        ``[samples, classes]``: the last teacher that it received, for samples without one its own
        honest reply. The best estimate that it has of the mean of all honest replies. Of a tensor
        of parameters it is what the server sent.
    generator : torch.Generator
        The stream of this client and round.
    """

    kind: str
    own: Tensor
    teacher: Tensor
    generator: torch.Generator

    def soft(self, values: Tensor) -> Tensor:
        """Return values of this kind as probabilities."""
        return kind_named(self.kind).probabilities(values)

    def one_hot(self, classes: Tensor) -> Tensor:
        """Return knowledge that is sure of the given classes ``[samples]``.

        Logits get the range of the honest ones: each row's largest for the class, its smallest for
        all others. Larger ones would be stronger, and easy to spot.
        """
        ones = torch.nn.functional.one_hot(classes, self.own.shape[-1]).float()
        if kind_named(self.kind).simplex:
            return ones
        low, high = self.own.aminmax(dim=-1, keepdim=True)
        return torch.where(ones > 0, high, low)


class Attack:
    """A share of the clients is hostile; the same ones in all rounds and on all engines.

    Every client's numbers in the tables say whether it is ``hostile`` (1 or 0). That is for whoever
    reads them: no strategy looks at it.

    Parameters
    ----------
    fraction : float
        Share of hostile clients, in [0, 1]; ``round(fraction * clients)`` are drawn.
    seed, clients : int
        The run's.

    Attributes
    ----------
    kinds : tuple of str or None
        The kinds of knowledge that it can poison; None if it does not depend on what is exchanged.
    needs_classes : bool
        Whether it works on labels that are classes.
    """

    from_run: ClassVar[tuple[str, ...]] = ("seed", "clients")
    """parameters that are the run's, and no keys of ``attack``"""
    kinds: ClassVar[tuple[str, ...] | None] = CLASS_SCORES
    needs_classes: ClassVar[bool] = False

    def __init__(self, *, fraction: float = 0.2, seed: int = 0, clients: int = 1) -> None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction={fraction} must be in [0, 1]")
        self.seed = seed
        rng = np.random.default_rng(stream(seed, SERVER, 0, "attack"))
        chosen = rng.choice(clients, size=round(fraction * clients), replace=False)
        self.hostile = frozenset(chosen.tolist())

    @property
    def _known(self) -> tuple[str, ...]:
        return CLASS_SCORES if self.kinds is None else self.kinds

    def options(self) -> dict[str, Any]:
        """Return what to add to the configuration of a message that asks to fit."""
        return {}

    def poison(self, view: View) -> Tensor:
        """Return what to reply in place of the honest knowledge, of its shape."""
        return view.own

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Let an honest client be; tamper with what a hostile one is told and what it replies."""
        hostile = int(context.node_config["partition-id"]) in self.hostile
        given = message.content
        taught = message.metadata.message_type == "train.distil"
        if hostile and not taught:
            message.content = self._told(given)
        reply = call_next(message, context)
        if hostile and taught and _kind(given) in self._known:
            context.state[RECORD] = _remembered(given)
        if hostile and "knowledge" in reply.content:
            self._tamper(reply.content, context)
        if hostile and "arrays" in reply.content and "parameters" in self._known:
            client, sent = int(context.node_config["partition-id"]), reply.content.array_records
            generator = torch_generator(stream(self.seed, client, round_of(message), "attack"))
            sent["arrays"] = self._model(given.array_records, sent["arrays"], generator)
        if self.hostile and MEASURED in reply.content:
            reply.content.metric_records[MEASURED]["hostile"] = int(hostile)
        return reply

    def _model(
        self, given: Mapping[str, ArrayRecord], sent: ArrayRecord, generator: torch.Generator
    ) -> ArrayRecord:
        """Return what to send in place of a model, tensor by tensor; what counts steps stays."""
        received = tensors_of(given["arrays"]) if "arrays" in given else {}
        made = tensors_of(sent)
        for name, own in made.items():
            if own.is_floating_point():
                view = View("parameters", own, received.get(name, own), generator)
                made[name] = self.poison(view).to(own.dtype)
        return to_arrays(made)

    def _told(self, given: RecordDict) -> RecordDict:
        """Return a message's content with our options; other clients may share the original."""
        config = given.config_records.get("config", ConfigRecord())
        told = RecordDict(dict(given))
        told["config"] = ConfigRecord({**config, **self.options()})
        return told

    def _tamper(self, content: RecordDict, context: Context) -> None:
        """Replace the knowledge in a reply, if it is of a kind that this attack knows."""
        about, arrays = content.config_records["about"], content.array_records["knowledge"]
        kind, client, round_ = str(about["kind"]), about["client"], about["round"]
        if kind not in self._known or 0 in arrays["values"].shape:  # a cache may ask for none
            return
        own = teacher = to_tensor(arrays["values"])
        if "sample_ids" in arrays:
            ids = to_tensor(arrays["sample_ids"])
            if "mask" in arrays:  # only these rows were sent
                ids = ids[to_tensor(arrays["mask"]).bool()]
            teacher = _recalled(context.state.array_records.get(RECORD), ids, own)
        seed = stream(self.seed, int(client), int(round_), "attack")  # type: ignore[arg-type]
        view = View(kind, own, teacher, torch_generator(seed))
        arrays["values"] = Array(self.poison(view).float().contiguous().numpy())


def _kind(content: RecordDict) -> object:
    """Return the kind of teacher that a message brings."""
    return content.config_records.get("config", ConfigRecord()).get("kind")


def _remembered(content: RecordDict) -> ArrayRecord:
    """Return the teacher of a message, with the samples that it is for."""
    teacher = content.array_records["teacher"]
    values, rows = teacher["values"], teacher.get("mask", teacher["values"]).shape[0]
    if "transfer" in content:
        ids = content.array_records["transfer"]["sample_ids"]
    else:
        ids = Array(np.arange(rows, dtype=np.int32))
    if "mask" in teacher:
        ids = Array(ids.numpy()[to_tensor(teacher["mask"]).bool().numpy()])
    return ArrayRecord({"values": values, "sample_ids": ids})


def _recalled(memory: ArrayRecord | None, ids: Tensor, own: Tensor) -> Tensor:
    """Return the remembered teacher for these samples, `own` for those it does not cover."""
    if memory is None or 0 in memory["values"].shape:
        return own
    values, known = to_tensor(memory["values"]), to_tensor(memory["sample_ids"])
    matches = ids.unsqueeze(1) == known
    covered = matches.any(dim=1, keepdim=True)
    return torch.where(covered, values[matches.int().argmax(dim=1)], own)
