"""The digest of a run: one hash over every client's final model and the server's arrays."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

State = Mapping[str, Tensor]


def digest(clients: Iterable[State], server: State) -> str:
    """Return the sha256 over (name, dtype, shape, little-endian bytes) of all arrays, as hex.

    Parameters
    ----------
    clients : iterable of mapping
        Each client's final state dict, in client order; within one, names are sorted.
    server : mapping
        The server's arrays.

    Examples
    --------
    >>> digest([{"w": torch.zeros(2)}], {})[:12]
    'cb6dd3f2b50a'
    """
    sha = hashlib.sha256()
    for state in (*clients, server):
        _update(sha, state)
    return sha.hexdigest()


def _update(sha: Any, state: State) -> None:
    for name in sorted(state):
        array = np.asarray(state[name].detach().cpu().numpy(), order="C")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sha.update(f"{name}|{array.dtype.name}|{array.shape}|".encode())
        sha.update(little.tobytes())
    sha.update(b";")


class Models:
    """Writes a run's final models one by one, and hashes them as they pass.

    Parameters
    ----------
    folder : Path
        Where to write one safetensors file per client, and the server's arrays.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._clients, self._sha = folder, 0, hashlib.sha256()

    def add(self, state: State) -> None:
        """Take the next client's state dict."""
        self.folder.mkdir(exist_ok=True)
        save_file(_plain(state), self.folder / f"client_{self._clients:05d}.safetensors")
        _update(self._sha, state)
        self._clients += 1

    def finish(self, server: State) -> str:
        """Take the server's arrays, and return the `digest` of all."""
        save_file(_plain(server), self.folder / "server.safetensors")
        _update(self._sha, server)
        return self._sha.hexdigest()


def load_model(folder: Path, client: int) -> dict[str, Tensor]:
    """Return a client's final state dict."""
    return load_file(folder / f"client_{client:05d}.safetensors")


def digest_of(folder: Path) -> str:
    """Recompute the digest from a run's ``models`` folder."""
    files = sorted(folder.glob("client_*.safetensors"), key=lambda file: int(file.stem[7:]))
    return digest(map(load_file, files), load_file(folder / "server.safetensors"))


def _plain(state: State) -> dict[str, Tensor]:
    return {name: torch.clone(tensor).contiguous() for name, tensor in state.items()}
