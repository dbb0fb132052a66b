"""Keep what the clients shared."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from .atomic import replacing
from .base import Callback, RoundRecord


class KnowledgeRecorder(Callback):
    """Write each round's admitted knowledge to ``RUN_DIR/knowledge/round_0001.safetensors``.

    The tensors are ``values [n, samples, classes]`` (or per kind), ``clients [n]`` and
    ``sample_ids [samples]``; the file's metadata names the ``kind``. Rounds without knowledge
    leave no file. With secure aggregation there is one row for all clients, their mean.

    Parameters
    ----------
    run_dir : path
        The run directory.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.folder = Path(run_dir) / "knowledge"

    def on_round(self, record: RoundRecord) -> None:
        """Write the round's knowledge, if there is any."""
        stack = record.knowledge
        if stack is None:
            return
        parts = {name: getattr(stack, name, None) for name in ("values", "clients", "sample_ids")}
        tensors = {
            name: torch.as_tensor(part).detach().cpu().contiguous()
            for name, part in parts.items()
            if part is not None
        }
        with replacing(self.folder / f"round_{record.round:04d}.safetensors") as path:
            save_file(tensors, path, {"kind": str(stack.kind), "round": str(record.round)})
