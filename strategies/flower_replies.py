"""What is admitted of the replies to Flower's own strategies, and what they are shown of it.

Flower's aggregation trusts clients: it weighs them by what they say, and gives up a whole round if
one of them replies with other metrics than the rest. So a strategy sees the arrays, and those of
the metrics that it can count on, of clients that were admitted by what all methods go by.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy as FlowerBase
from torch import Tensor

from ..engine import Reply
from ..knowledge.admission import Rejected, check_count
from ..knowledge.arrays import values_of
from ..knowledge.kinds import LARGEST
from ..knowledge.payload import oversize, payload_bytes
from ..rounds.protocol import Outcome

WEIGHT = "num-examples"
"""The metric by which Flower's strategies weigh clients, unless told otherwise."""

Numbers = dict[str, int | float]


def admitted(
    replies: Sequence[Reply],
    like: Mapping[str, Tensor],
    sizes: Sequence[int],
    inner: FlowerBase,
    outcome: Outcome,
) -> list[Reply]:
    """Return the replies that are admitted; what else came with their messages is taken out.

    Parameters
    ----------
    replies : sequence of Reply
        With content.
    like : mapping
        The model's arrays.
    sizes : sequence of int
        Training samples of each client of the run.
    inner : flwr.serverapp.strategy.Strategy
        Who will aggregate.
    outcome : Outcome
        Where to note whose reply is not admitted, and why.
    """
    needed, known = needed_metrics(inner), list[tuple[Reply, Numbers]]()
    for reply in replies:
        try:
            check_size(reply.ok, like)
            check_parameters(reply.ok.array_records.get("arrays"), like)
            known.append((reply, _numbers(reply.ok, sizes[reply.client], needed)))
        except Rejected as reason:
            outcome.rejected[reply.client] = str(reason)
    votes = Counter(name for _, numbers in known for name in numbers)
    shared = {name for name, count in votes.items() if 2 * count > len(known)}
    found = []
    for reply, numbers in known:
        if lacking := sorted(shared - numbers.keys()):
            outcome.rejected[reply.client] = f"metrics: lacks {lacking[0]}, which most others have"
            continue
        metrics = MetricRecord({name: v for name, v in numbers.items() if name in shared})
        assert reply.message is not None
        arrays = reply.ok.array_records["arrays"]
        reply.message.content = RecordDict({"arrays": arrays, "metrics": metrics})
        found.append(reply)
    return found


def needed_metrics(inner: FlowerBase) -> set[str]:
    """Return the metrics that a strategy computes with, as its parameters name them.

    Examples
    --------
    >>> from flwr.serverapp.strategy import FedAvg, QFedAvg
    >>> sorted(needed_metrics(QFedAvg(client_learning_rate=0.1, train_loss_key="loss_fit")))
    ['loss_fit', 'num-examples']
    """
    names = {WEIGHT}
    for attribute, value in vars(inner).items():
        if attribute.endswith("_key") and not attribute.endswith("record_key"):
            names.add(value)
        elif isinstance(value, FlowerBase):  # wrapped by another, for differential privacy
            names |= needed_metrics(value)
    return names


def check_size(content: RecordDict, like: Mapping[str, Tensor]) -> None:
    """Raise `Rejected` if a reply is far larger than these parameters."""
    expected = sum(value.nbytes for value in like.values())
    if (problem := oversize(payload_bytes(content), expected)) is not None:
        raise Rejected(problem)


def check_parameters(got: ArrayRecord | None, like: Mapping[str, Tensor]) -> None:
    """Raise `Rejected` unless `got` holds parameters like these, finite and of sane magnitude."""
    if got is None or list(got) != list(like):
        raise Rejected("parameters: not the model's names")
    for name, array in got.items():
        try:
            value = values_of(array)
        except Exception as error:
            raise Rejected(f"unreadable: {type(error).__name__}") from error
        if value.shape != like[name].shape:
            raise Rejected(f"shape: {name} is {value.shape}, expected {tuple(like[name].shape)}")
        wanted = like[name].numpy().dtype
        if value.dtype != wanted:
            raise Rejected(f"dtype: {name} is {value.dtype}, expected {wanted}")
        if not np.isfinite(value).all():
            raise Rejected(f"finite: {name} contains NaN or infinity")
        floating = np.issubdtype(wanted, np.floating)
        if floating and value.size and (high := np.abs(value).max()) > LARGEST:
            raise Rejected(f"magnitude: {name} has {high:.3g}, above {LARGEST:g}")


def _numbers(content: RecordDict, samples: int, needed: set[str]) -> Numbers:
    """Return a reply's metrics that are plain numbers, if those that matter can be true."""
    record = content.metric_records.get("metrics") or MetricRecord()
    numbers = {k: v for k, v in record.items() if isinstance(v, int | float)}
    for name in sorted(needed):
        if name not in record:
            there = ", ".join(sorted(numbers)) or "none"
            raise Rejected(f"metrics: lacks {name}, which the strategy reads (there: {there})")
        least, most = (1, samples) if name == WEIGHT else (0, LARGEST)
        check_count(name, record[name], most, least)
    return numbers
