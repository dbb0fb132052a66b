"""What a client uploads, as integers: the last step before they are masked."""

import numpy as np
from flwr.app import Array, RecordDict

from ..config import SecureConfig
from ..knowledge import to_tensor
from ..knowledge.admission import Expected, Rejected, admit
from ..secure.fixedpoint import Integers
from ..secure.summing import arrays_layout, contribution, knowledge_layout, weighed_arrays
from .exchange import Exchange

ABOUT_SAMPLES = {"values", "sample_ids", "mask", "scores"}
"""Arrays of knowledge that every exchange may have; others are its own."""


def integers(
    content: RecordDict, exchange: Exchange, config: SecureConfig, parties: int
) -> tuple[Integers, int]:
    """Return a reply's knowledge, or model, as integers, and how many of them were clipped.

    Nobody else can look at it any more, so the client checks it as the server would.

    Raises
    ------
    Rejected
        If it is not fit to be summed.
    """
    if "knowledge" in content:
        expected = _expected(content, exchange)
        layout = knowledge_layout(expected, config, parties)
        knowledge = admit(content, expected)
        weight = exchange.weights_of(knowledge) if expected.weighted else None
        return layout.encode(contribution(knowledge, weight, layout))
    tensors = {k: to_tensor(array) for k, array in content.array_records["arrays"].items()}
    if bad := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise Rejected(f"finite: {bad[0]} contains NaN or infinity")
    samples = float(content.metric_records["metrics"]["num-examples"])  # type: ignore[arg-type]
    numbers = {name: value.numpy() for name, value in tensors.items()}
    return arrays_layout(tensors, config, parties).encode(weighed_arrays(numbers, samples))


def _expected(content: RecordDict, exchange: Exchange) -> Expected:
    """Return what the server expects, as far as the client can tell."""
    record, about = content.array_records["knowledge"], content.config_records["about"]
    shape = record["values"].shape
    if "mask" in record:
        shape = (record["mask"].shape[0], *shape[1:])
    ids = record.get("sample_ids", Array(np.zeros(0, np.int64)))
    return Expected(
        client=int(about["client"]),  # type: ignore[arg-type]
        round=int(about["round"]),  # type: ignore[arg-type]
        kind=exchange.kind,
        sample_ids=to_tensor(ids).long(),
        shape=tuple(shape),
        masked=exchange.masked,
        scored=exchange.scored,
        extras={k: tuple(record[k].shape) for k in record if k not in ABOUT_SAMPLES},
        heaviest=exchange.heaviest,
    )
