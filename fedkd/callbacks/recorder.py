"""Keep what clients and server exchanged."""

from collections.abc import Mapping
from pathlib import Path

import torch
from flwr.app import ArrayRecord
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import replacing
from ..knowledge import KnowledgeStack, to_tensor
from .base import Callback, RoundRecord


class KnowledgeRecorder(Callback):
    """Write what was exchanged in each round to ``RUN_DIR/knowledge/round_0001.safetensors``.

    ``values [n, samples, classes]`` (or per kind), ``clients [n]``, ``sample_ids [samples]`` and,
    where clients may leave rows out, ``mask [n, rows]`` are the admitted knowledge, as it arrived:
    after compression and whatever protects it (with secure aggregation one row for all clients,
    their mean). The file's metadata names the ``kind``.

    ``teacher.*`` is what clients were sent to learn from and ``start.*`` what they were sent before
    their fit (methods that share parameters or knowledge of classes, to who lacks it), before
    compression. Each distinct record is kept once: client ``teacher.clients[i]`` received
    ``teacher.N.values`` and perhaps ``teacher.N.mask``, where N is ``teacher.which[i]``;
    ``teacher.sample_ids`` are its rows.

    A file takes four bytes a number: ``4 * n * samples * classes`` for the knowledge and as much
    for personal teachers, a share of 1/n for a common one; ``4 * (n + 1) * size`` for methods that
    share parameters. 20 clients, 1,000 samples and 10 classes: 0.8 MB a round, or 13 MB for an MLP
    of 159,010 parameters. Nothing is held from round to round. Rounds in which nothing was
    exchanged leave no file. Of methods with several groups of parameters, the last group's
    knowledge is kept.

    Parameters
    ----------
    run_dir : path
        The run directory.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.folder = Path(run_dir) / "knowledge"

    def on_round(self, record: RoundRecord) -> None:
        """Write the round, if anything was exchanged."""
        stack, sent = record.knowledge, record.exchanged
        tensors = {} if stack is None else _knowledge(stack)
        if sent is not None:
            tensors |= _records("start", sent.starts) | _records("teacher", sent.lessons)
            if sent.lessons and sent.sample_ids is not None:
                tensors["teacher.sample_ids"] = sent.sample_ids
        if not tensors:
            return
        kind = "none" if stack is None else str(stack.kind)
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        self.folder.mkdir(exist_ok=True)
        with replacing(self.folder / f"round_{record.round:04d}.safetensors") as path:
            save_file(plain, path, {"kind": kind, "round": str(record.round)})


def _knowledge(stack: KnowledgeStack) -> dict[str, Tensor]:
    """Return the clients' knowledge."""
    tensors = {
        "values": stack.values,
        "clients": torch.as_tensor(stack.clients),
        "sample_ids": stack.sample_ids.clone(),
    }
    return tensors if stack.mask is None else tensors | {"mask": stack.mask}


def _records(name: str, records: Mapping[int, ArrayRecord]) -> dict[str, Tensor]:
    """Return records by client, those that several clients share once."""
    if not records:
        return {}
    numbers: dict[int, int] = {}
    tensors: dict[str, Tensor] = {}
    for record in records.values():
        if id(record) in numbers:
            continue
        number = numbers[id(record)] = len(numbers)
        tensors |= {f"{name}.{number}.{part}": to_tensor(a) for part, a in record.items()}
    which = [numbers[id(record)] for record in records.values()]
    tensors[f"{name}.clients"] = torch.tensor(list(records))
    return tensors | {f"{name}.which": torch.tensor(which)}
