"""A recorded run, as attacks see it: recordings, models, the truth to measure against."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..clients import Parts
from ..clients.base import Client
from ..clients.workbench import returned
from ..config.saved import readable
from ..config.trust import vet
from ..data import Federation
from ..data.cache import intact
from ..errors import ConfigError
from ..models import build
from ..report.reader import Run
from ..rng import scoped, stream, torch_generator
from ..rundir.digest import load_model
from ..rundir.recordings import Recordings


class Subject:
    """The run under attack.

    Parameters
    ----------
    run_dir : path
        Its directory.
    model : optional
        The Python models of a run that was made with such, as for `fedkd.simulate`.
    trust : bool
        Whether to execute code outside fedkd that only somebody else's directory names.
    tell : callable
        An attack that takes long calls it with how many models it has trained, and will have.

    Attributes
    ----------
    run : Run
        Its tables, configuration and summary.
    takers : list of int
        The clients whose knowledge was ever admitted.
    recordings : Recordings
        What clients and server exchanged.

    Raises
    ------
    ConfigError
        If it is no run, did not finish, has no recordings, or names code and is not the user's.
    """

    def __init__(
        self,
        run_dir: str | Path,
        model: Any = None,
        trust: bool = False,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        path, self.tell = Path(run_dir), tell
        self.run = Run.load(path)
        if not self.run.finished:
            raise ConfigError("run", path, "did not finish; resume it, or make it again")
        self.recordings = Recordings(path)
        if self.config["record"]["knowledge"] and not self.recordings.exist:
            problem = f"{self.strategy} exchanges nothing that could be recorded"
            raise ConfigError("run", path, problem)
        self.takers = self.recordings.clients  # says how to record if nothing was
        self.spec = _spec(path, self.config)
        vet(path, self.spec, "run", trusted=trust)
        self._model = model

    @cached_property
    def parts(self) -> Parts:
        """The clients' loop, models and objective, as the run had them."""
        given = self._model
        models = None if given is None else given if isinstance(given, list) else [given]
        with readable("run", self.run.path, "its spec.json cannot be used"):
            return Parts.from_spec(self.spec, models)

    @cached_property
    def federation(self) -> Federation:
        """Who holds what. Attacks look at it to draw candidates and to measure success."""
        with readable("run", self.run.path, "its spec.json cannot be used"):
            locator = self.spec["data"] | {"split": str((self.run.path / "split.npz").resolve())}
            paths = [Path(path) for path in (locator["corpus"], locator["transfer"]) if path]
        if not all(map(intact, paths)):
            problem = "its decoded data set is gone or damaged"
            remedy = "`fedkd data data=NAME` makes it again"
            raise ConfigError("run", self.run.path, f"{problem}; {remedy}")
        opened = Federation.open(locator)
        with readable("run", self.run.path, "its split.npz cannot be read"):
            _ = opened.histograms, opened.sizes, opened.transfer_size
        return opened

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration."""
        return self.run.config

    @property
    def clients(self) -> int:
        """Number of clients."""
        return self.federation.clients

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return self.run.strategy

    @cached_property
    def distributions(self) -> Tensor:
        """The clients' true label distributions ``[clients, classes]``."""
        counts = torch.from_numpy(self.federation.histograms)
        return counts / counts.sum(dim=1, keepdim=True)

    def seed(self, name: str, client: int = 0) -> int:
        """Return the seed of one of the attack's own streams."""
        return stream(int(self.config["seed"]), client, 0, f"attack.{name}")

    def numpy(self, name: str, client: int = 0) -> np.random.Generator:
        """Return a numpy generator of such a stream."""
        return np.random.default_rng(self.seed(name, client))

    def drawn(self, count: int, among: Sequence[int]) -> list[int]:
        """Return `count` clients out of some, ascending; all of them if they are no more."""
        if count >= len(among):
            return sorted(among)
        return sorted(self.numpy("targets").choice(among, count, replace=False).tolist())

    def fresh(self, client: int, name: str) -> nn.Module:
        """Return an untrained model of a client's architecture."""
        with readable("run", self.run.path, "its spec.json cannot be used"):
            about = returned(self.spec, self.federation)
        with scoped(self.seed(f"model.{name}", client)):
            return build(self.parts.models[client], self.federation.shape, *about)

    def model(self, client: int) -> nn.Module:
        """Return a client's final model."""
        model = self.fresh(client, "shape")
        with readable("run", self.run.path, f"its model of client {client} cannot be read"):
            model.load_state_dict(load_model(self.run.path / "models", client))
        return model.eval()

    def client(self, model: nn.Module, x: Tensor, y: Tensor, name: str, index: int) -> Client:
        """Return a client for the run's training loop that has this model and these data."""
        generator = torch_generator(self.seed(name, index))
        return Client(index, model.to(self.spec["device"]), x, y, generator)

    def logits(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return a model's logits ``[samples, classes]``."""
        nobody = self.client(model, x[:0], torch.zeros(0, dtype=torch.int64), "predict", 0)
        return self.parts.loop.predict([nobody], x)[0]

    def softness(self, what: str, number: int) -> float:
        """Return the softmax temperature of a round's soft labels; 1 for other kinds.

        Parameters
        ----------
        what : {"uploads", "teachers"}
            Which of them.
        number : int
            The round.
        """
        each: list[float] = self.spec["softness"][what]
        return each[min(max(number, 1), len(each)) - 1]

    @cached_property
    def transfer(self) -> Tensor:
        """The transfer samples ``[U, *shape]``; the server has them."""
        return self.federation.transfer()

    def seen_labels(self, ids: Tensor) -> Tensor | None:
        """Return labels of transfer samples ``[samples]``, if the run's methods could see them."""
        labelled = self.config["transfer"]["labelled"]
        return self.federation.transfer_labels()[ids] if labelled else None

    def refuse(self, attack: str, problem: str) -> ConfigError:
        """Return the error that says why an attack makes no sense here."""
        return ConfigError("attack", attack, f"{self.run.path.name} ({self.strategy}): {problem}")


def _spec(run_dir: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run's clients were made of; what both files say must be the same."""
    with readable("run", run_dir, "its spec.json cannot be read"):
        spec = json.loads((run_dir / "spec.json").read_text())
    if not isinstance(spec, dict):
        raise ConfigError("run", run_dir, "its spec.json is no mapping")
    differ = [key for key in spec if key in config and key != "data" and spec[key] != config[key]]
    if differ:
        problem = f"its spec.json and config.yaml differ in {', '.join(differ)}; make it again"
        raise ConfigError("run", run_dir, problem)
    with readable("run", run_dir, "its spec.json cannot be used"):
        given = {key: spec["softness"][key] for key in ("uploads", "teachers")}
        spec["softness"] = {
            key: [float(one) for one in (each if isinstance(each, list) else [each])]
            for key, each in given.items()
        }
    return spec
