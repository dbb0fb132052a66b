"""How many bytes travel."""

from flwr.app import ArrayRecord, RecordDict

from .arrays import nbytes

SLACK_FACTOR, SLACK_BYTES = 2, 2**16
"""A reply may be this much larger than expected: for headers, names and what else a kind needs."""


STAGES = ("query.advertise", "query.share", "query.unmask")
"""The messages of secure aggregation beside training."""


def exchanges(message_type: str) -> bool:
    """Tell whether messages of a type carry what a method exchanges, so that their bytes count.

    Examples
    --------
    >>> [exchanges(kind) for kind in ("train.fit", "query.share", "query.snapshot")]
    [True, True, False]
    """
    return message_type.startswith("train") or message_type in STAGES


def payload_bytes(content: RecordDict) -> int:
    """Return the serialised size of a message's arrays, in bytes.

    Knowledge, teachers and parameters travel as arrays. Metrics (accuracies, seconds) are what the
    simulation wants to know, not what a method exchanges.
    """
    return sum(
        nbytes(array) + len(name)
        for record in content.values()
        if isinstance(record, ArrayRecord)
        for name, array in record.items()
    )


def oversize(got: int, expected: int) -> str | None:
    """Say so if a reply's arrays are far larger than they should be.

    Parameters
    ----------
    got : int
        Bytes of all arrays that came along, see `payload_bytes`.
    expected : int
        Bytes of the numbers that were asked for.

    Examples
    --------
    >>> oversize(100_129, 100)
    'size: 100129 bytes, expected about 100'
    >>> oversize(100_129, 100_000) is None
    True
    """
    if got <= SLACK_FACTOR * expected + SLACK_BYTES:
        return None
    return f"size: {got} bytes, expected about {expected}"
