"""What clients answer in federated active learning, checked like any other reply."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ConfigRecord
from torch import Tensor

from ..engine import Reply
from ..knowledge.admission import Rejected, check_count
from ..knowledge.kinds import LARGEST

LONGEST = 128
"""Characters of a digest of picks."""


@dataclass(frozen=True)
class Bounds:
    """What an answer can be at most.

    Parameters
    ----------
    classes, samples, asked : int
        Classes of the run, samples of the client, and how many it was asked for.
    """

    classes: int
    samples: int
    asked: int


@dataclass(frozen=True)
class Answer:
    """What one client answered; what its message did not ask for is 0.

    Attributes
    ----------
    requested, annotated : int
        Samples that it picked, and those of them that were labelled.
    unheard : int
        1 if it never had a model from the server, else 0.
    cost : float
        What that cost.
    queried, labelled : Tensor
        ``[classes]`` new labels, and all that it has.
    picks : str
        Digest of what it picked.
    """

    requested: int
    unheard: int
    annotated: int
    cost: float
    queried: Tensor
    labelled: Tensor
    picks: str


def answered(action: str, reply: Reply, bounds: Bounds) -> Answer:
    """Return what a client answered to ``query.score``, ``query.annotate`` or ``query.tally``.

    Raises
    ------
    Rejected
        If it failed, or the answer cannot be true.
    """
    if reply.content is None:
        raise Rejected(reply.error or "no reply")
    numbers = reply.said
    asks, labels = action == "query.score", action == "query.annotate"
    requested = _count(numbers, "requested", bounds.asked) if asks else 0
    unheard = _count(numbers, "unheard", 1) if asks else 0
    annotated = _count(numbers, "annotated", bounds.asked) if labels else 0
    cost = check_count("cost", numbers.get("cost"), LARGEST * bounds.asked) if labels else 0.0
    none = torch.zeros(bounds.classes, dtype=torch.int64)
    return Answer(
        requested=requested,
        unheard=unheard,
        annotated=annotated,
        cost=cost,
        queried=_by_class(numbers, "queried", bounds.classes, annotated) if labels else none,
        labelled=none if asks else _by_class(numbers, "labelled", bounds.classes, bounds.samples),
        picks=_picks(reply) if labels else "",
    )


def _count(numbers: Mapping[str, Any], name: str, most: int) -> int:
    count = check_count(name, numbers.get(name), most)
    if count != int(count):
        raise Rejected(f"{name}: got {count:g}, expected a whole number")
    return int(count)


def _by_class(numbers: Mapping[str, Any], name: str, classes: int, most: int) -> Tensor:
    counts = [_count(numbers, f"{name}_{label}", most) for label in range(classes)]
    check_count(name, sum(counts), most)
    return torch.tensor(counts)


def _picks(reply: Reply) -> str:
    picks = reply.ok.config_records.get("about", ConfigRecord()).get("picks")
    if not isinstance(picks, str) or len(picks) > LONGEST:
        raise Rejected("picks: not a digest")
    return picks
