"""What clients remember, as tensors and plain values that a safetensors and a JSON file take."""

from collections.abc import Iterator, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from ..knowledge import to_tensor

_PLAIN: dict[str, type] = {"metric": MetricRecord, "config": ConfigRecord}


def pack(clients: Mapping[int, RecordDict]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all arrays under ``client|record|name``, and the rest in JSON's types."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for client, records in clients.items():
        kept = plain[str(client)] = {}
        for name, record in records.items():
            if isinstance(record, ArrayRecord):
                kept[name] = {"kind": "array", "names": list(record)}
                tensors |= {f"{client}|{name}|{k}": to_tensor(v) for k, v in record.items()}
            else:
                kind = "metric" if isinstance(record, MetricRecord) else "config"
                kept[name] = {"kind": kind, "values": dict(record)}
    return tensors, plain


def names(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the arrays that `pack` made."""
    for client, kept in plain.items():
        for name, record in kept.items():
            yield from (f"{client}|{name}|{one}" for one in record.get("names", ()))


def unpack(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[int, RecordDict]:
    """Return what `pack` was given."""
    clients = {}
    for client, kept in plain.items():
        records: dict[str, Any] = {}
        for name, record in kept.items():
            if record["kind"] == "array":
                values = {k: tensors[f"{client}|{name}|{k}"] for k in record["names"]}
                records[name] = ArrayRecord(values)
            else:
                records[name] = _PLAIN[record["kind"]](record["values"])
        clients[int(client)] = RecordDict(records)
    return clients
