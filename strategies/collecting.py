"""Asking clients for what they upload: each one's own, or with secure aggregation only the mean.

If too few clients are left to unmask a sum, or it cannot be one of admissible knowledge, the round
is skipped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from ..config import SecureConfig
from ..engine import Reply
from ..knowledge import Knowledge
from ..knowledge.admission import Rejected, admit, check_values
from ..knowledge.shelf import Shelf
from ..rounds.protocol import Outcome, RoundPlan
from ..secure.fixedpoint import Layout
from ..secure.summing import Sums, arrays_layout, averages, knowledge_layout, mean_arrays
from .secure import RECORD, Sum

T = TypeVar("T")

Train = Callable[[Mapping[int, ArrayRecord]], list[Reply]]
"""Has clients train and upload; takes the record that goes with each one's message."""


def collect(
    plan: RoundPlan, action: str, contents: Mapping[int, RecordDict], ids: Tensor, outcome: Outcome
) -> list[Knowledge]:
    """Let clients fit and upload knowledge about some samples; return what is admitted of it.

    Parameters
    ----------
    plan : RoundPlan
        The round.
    action : str
        Type of the messages.
    contents : mapping
        ``{client: content}`` of the messages.
    ids : Tensor
        ``[samples]`` int64.
    outcome : Outcome
        Where to note whose is not admitted, and why.
    """
    if plan.secure is not None:
        return _summed_knowledge(plan, action, contents, ids, outcome)
    expected = {client: plan.expect(client, ids) for client in contents}
    shelf = Shelf(one.shape for one in expected.values())
    replies = plan.fleet.stream(
        action, contents, plan.number, lambda client: expected[client].nbytes
    )
    admitted: list[Knowledge] = []
    for reply in outcome.taking(replies):
        try:
            found = admit(reply.ok, expected[reply.client])
        except Rejected as reason:
            outcome.rejected[reply.client] = str(reason)
        else:
            admitted.append(replace(found, values=shelf.put(found.values)))
    return admitted


def _summed_knowledge(
    plan: RoundPlan, action: str, contents: Mapping[int, RecordDict], ids: Tensor, outcome: Outcome
) -> list[Knowledge]:
    """Let the cohort fit and upload masked knowledge; return the mean, for each client in it."""
    expected = plan.expect(plan.cohort[0], ids)

    def layout(config: SecureConfig, parties: int) -> Layout:
        return knowledge_layout(expected, config, parties)

    def train(invited: Mapping[int, ArrayRecord]) -> list[Reply]:
        asked = {k: RecordDict({**contents[k], RECORD: record}) for k, record in invited.items()}
        return outcome.take(plan.fleet.call(action, asked, plan.number))

    def mean(sums: Sums, replies: Sequence[Reply]) -> list[Knowledge]:
        return averages(sums, [plan.expect(reply.client, ids) for reply in replies])

    return _summed(plan, outcome, layout, train, mean)


def summed_arrays(
    plan: RoundPlan, messages: Sequence[Message], like: Mapping[str, Tensor], outcome: Outcome
) -> list[Message]:
    """Send a Flower strategy's messages; return the mean reply, once for each client in it."""
    client_of = {node: client for client, node in plan.fleet.node_of.items()}

    def layout(config: SecureConfig, parties: int) -> Layout:
        return arrays_layout(like, config, parties)

    def train(invited: Mapping[int, ArrayRecord]) -> list[Reply]:
        due = [m for m in messages if client_of[m.metadata.dst_node_id] in invited]
        for message in due:
            record = invited[client_of[message.metadata.dst_node_id]]
            message.content = RecordDict({**message.content, RECORD: record})
        return outcome.take(plan.fleet.send(due))

    def mean(sums: Sums, replies: Sequence[Reply]) -> list[Message]:
        most = sum(plan.server.sizes[reply.client] for reply in replies)
        means = {k: torch.from_numpy(v) for k, v in mean_arrays(sums, like, most).items()}
        arrays = {k: v.float() if like[k].is_floating_point() else v for k, v in means.items()}
        for name, value in arrays.items():
            if like[name].is_floating_point():
                check_values("parameters", value, like[name].shape)
        metrics = MetricRecord({"num-examples": float(sums["weights"][0])})
        reply = replies[0].message
        assert reply is not None
        reply.content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})
        return [reply] * len(replies)

    return _summed(plan, outcome, layout, train, mean)


def _summed(
    plan: RoundPlan,
    outcome: Outcome,
    layout: Callable[[SecureConfig, int], Layout],
    train: Train,
    mean: Callable[[Sums, Sequence[Reply]], list[T]],
) -> list[T]:
    """Go through all stages; if that is not possible, note why and have the round skipped."""
    assert plan.secure is not None
    secure = Sum(plan, plan.secure, outcome)
    try:
        secure.open()
        form = layout(plan.secure, len(secure.adverts))
        replies = train(secure.invitations())
        found = secure.uploads(replies, form)
        return mean(secure.close(found, form), [one for one in replies if one.client in found])
    except Rejected as reason:
        left = [client for client in plan.cohort if client not in outcome.rejected]
        outcome.rejected |= dict.fromkeys(left, str(reason))
        outcome.skipped = bool(left)
        return []
