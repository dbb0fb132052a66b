"""Read what `fedkd.callbacks.recorder.KnowledgeRecorder` kept of a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ConfigError
from ..knowledge import CLASS_SCORES, Target, kind_named, scattered


@dataclass(frozen=True)
class Recorded:
    """What was exchanged in one round.

    Attributes
    ----------
    round : int
        The round's number, from 1.
    kind : str
        Kind of the clients' knowledge; ``"none"`` if there was none.
    """

    round: int
    kind: str
    tensors: dict[str, Tensor]

    @property
    def clients(self) -> list[int]:
        """Whose knowledge was admitted, ascending."""
        return self.tensors["clients"].tolist() if "clients" in self.tensors else []

    @property
    def values(self) -> Tensor:
        """Their knowledge, ``[n, samples, classes]`` or per kind."""
        return self.tensors["values"]

    @property
    def soft_labels(self) -> Tensor:
        """The knowledge as probabilities ``[n, samples, classes]``, of kinds on samples only."""
        return kind_named(self.kind).probabilities(self.values)

    @property
    def sample_ids(self) -> Tensor:
        """``[samples]``, positions in the transfer set."""
        return self.tensors["sample_ids"].long()

    @property
    def mask(self) -> Tensor:
        """Which rows each client sent, bool ``[n, samples]``."""
        every = torch.ones(self.values.shape[:2], dtype=torch.bool)
        return self.tensors.get("mask", every).bool()

    @property
    def teacher_ids(self) -> Tensor:
        """``[samples]``, the transfer samples that the teachers are for."""
        return self.tensors["teacher.sample_ids"].long()

    @property
    def offered(self) -> int:
        """How many teachers each client was sent to choose from; their rows follow one another."""
        ids = self.tensors.get("teacher.sample_ids")
        return 1 if ids is None or not len(ids) else len(ids) // len(ids.unique())

    def target(self, client: int) -> Target | None:
        """Return a client's teacher, or None."""
        return self._record("teacher", client)

    def start(self, client: int) -> Tensor | None:
        """Return the values that a client was sent before its fit, such as parameters, or None."""
        record = self._record("start", client)
        return None if record is None else record.values

    def _record(self, name: str, client: int) -> Target | None:
        clients = self.tensors.get(f"{name}.clients", torch.zeros(0)).tolist()
        if client not in clients:
            return None
        number = int(self.tensors[f"{name}.which"][clients.index(client)])
        values = self.tensors[f"{name}.{number}.values"]
        mask = self.tensors.get(f"{name}.{number}.mask")
        if mask is None:
            return Target(values, self.kind)
        return Target(scattered(values, mask.bool()), self.kind, mask=mask.bool())


@dataclass(frozen=True)
class Recordings:
    """The recorded rounds of a run; each is read when it is asked for.

    Parameters
    ----------
    run_dir : Path
        The run directory.
    """

    run_dir: Path

    @property
    def exist(self) -> bool:
        """Whether there are any."""
        return any((self.run_dir / "knowledge").glob("round_*.safetensors"))

    @cached_property
    def clients(self) -> list[int]:
        """Every client whose knowledge was admitted in some round, ascending."""
        return sorted({client for record in self for client in record.clients})

    @cached_property
    def rounds(self) -> list[int]:
        """Numbers of the recorded rounds, ascending.

        Raises
        ------
        ConfigError
            If there are none.
        """
        files = sorted((self.run_dir / "knowledge").glob("round_*.safetensors"))
        if not files:
            problem = "has no recordings; make the run again with record.knowledge=true"
            raise ConfigError("run", self.run_dir, problem)
        return [int(file.stem.removeprefix("round_")) for file in files]

    def read(self, number: int) -> Recorded:
        """Return a round.

        Raises
        ------
        ConfigError
            If its file cannot be read.
        """
        path = self.run_dir / "knowledge" / f"round_{number:04d}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError("run", path, f"cannot be read: {reason}") from error
        return Recorded(number, about["kind"], tensors)

    def __iter__(self) -> Iterator[Recorded]:
        """Go through the rounds, one in memory at a time."""
        return (self.read(number) for number in self.rounds)

    @cached_property
    def last(self) -> Recorded:
        """The last recorded round."""
        return self.read(self.rounds[-1])

    @property
    def kind(self) -> str:
        """Kind of the knowledge in the last round."""
        return self.last.kind

    def uploaded(self, client: int) -> tuple[Tensor, Tensor] | None:
        """Return the newest soft labels that a client sent of every sample.

        Returns
        -------
        soft : Tensor
            ``[samples, classes]``.
        ids : Tensor
            ``[samples]``, ascending positions in the transfer set; None if it sent none.
        """
        found: dict[int, Tensor] = {}
        for record in self:
            if record.kind in CLASS_SCORES and client in record.clients:
                row = record.clients.index(client)
                kept = record.mask[row]
                ids = record.sample_ids[kept].tolist()
                found |= dict(zip(ids, record.soft_labels[row][kept], strict=True))
        return _sorted(found)

    def taught(self, client: int) -> tuple[Tensor, Tensor] | None:
        """Return the newest soft labels that a client was taught of every sample, as `uploaded`."""
        found: dict[int, Tensor] = {}
        for record in self:
            target = record.target(client) if record.kind in CLASS_SCORES else None
            if target is not None:
                soft = target.probabilities()
                kept = torch.ones(len(soft)).bool() if target.mask is None else target.mask
                found |= dict(zip(record.teacher_ids[kept].tolist(), soft[kept], strict=True))
        return _sorted(found)

    def update(self, number: int, client: int) -> tuple[Tensor, Tensor] | None:
        """Return the parameters ``[size]`` that a client began a round with, and its reply's.

        None if its reply was not admitted, or what it began with was not recorded.
        """
        record = self.read(number)
        if record.kind != "parameters" or client not in record.clients:
            return None
        start = record.start(client)
        for earlier in reversed([one for one in self.rounds if one < number]):
            if start is not None:
                break
            target = self.read(earlier).target(client)
            start = None if target is None else target.values
        reply = record.values[record.clients.index(client)]
        return None if start is None or start.shape != reply.shape else (start, reply)


def _sorted(found: dict[int, Tensor]) -> tuple[Tensor, Tensor] | None:
    if not found:
        return None
    ids = sorted(found)
    return torch.stack([found[one] for one in ids]), torch.tensor(ids)
