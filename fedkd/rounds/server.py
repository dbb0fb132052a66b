"""What a method's server side may use beside what clients send: transfer samples, models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from ..data.federation import Federation
from ..models import build, check_model, model_names, refuse_shared
from ..models.flat import flatten, unflatten
from ..models.sgd import sgd
from ..rng import SERVER, scoped, stream
from ..tasks.rows import by_sample, each_of, rows_of, samples_at


@dataclass(frozen=True)
class Server:
    """The server's own means, the same on every engine.

    Parameters
    ----------
    federation : Federation
        The data; the server looks at the transfer samples only.
    models : sequence
        Each client's model factory.
    instances : sequence of nn.Module
        A model like each client's, to look at; clients of one architecture share one.
    seed : int
        The run's seed.
    outputs : tuple of int or None
        Shape of what a model returns for a sample; None = one number a class.
    task : str
        What samples mean.
    """

    federation: Federation
    models: Sequence[Any]
    instances: Sequence[nn.Module]
    seed: int
    outputs: tuple[int, ...] | None = None
    task: str = "classification"

    @property
    def _about(self) -> tuple[Any, tuple[int, ...], str]:
        return self.federation.shape, self.outputs or (self.classes,), self.task

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self.models)

    @property
    def sizes(self) -> list[int]:
        """Training samples of each client."""
        return [len(self.federation.indices(client)) for client in range(self.clients)]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.federation.classes

    @property
    def each(self) -> int:
        """Rows of knowledge that a transfer sample has: 1, or one for each token of a text."""
        return each_of(self._about[1])

    @property
    def width(self) -> int:
        """Numbers of a row of predictions: classes, targets, or the vocabulary."""
        return self._about[1][-1]

    @property
    def transfer_rows(self) -> int:
        """Rows of knowledge on the whole transfer set, views included."""
        return self.federation.versions * self.federation.transfer_size * self.each

    def transfer(self, ids: Tensor) -> Tensor:
        """Return transfer samples ``[samples, *shape]``, of whose rows these are the numbers."""
        return self.federation.transfer(samples_at(ids, self.each))

    def transfer_labels(self, ids: Tensor) -> Tensor:
        """Return the labels of rows, ``[rows]``."""
        labels = self.federation.transfer_labels()
        return (labels if self.each == 1 else labels.flatten())[ids]

    def check_model(self, spec: Any, trains: bool = True) -> None:
        """Refuse a model that nobody could have beside those of the clients.

        Raises
        ------
        ConfigError
            As `fedkd.models.check_model`, or if it has weights in common with a client's.
        """
        model = check_model(spec, *self._about[:2], trains, self.task)
        names = model_names([*self.models, spec])
        pairs = list(zip(names, [*self.instances, model], strict=True))
        refuse_shared(list({id(instance): (name, instance) for name, instance in pairs}.values()))

    def model(self, spec: Any, number: int = 0) -> nn.Module:
        """Return a model with the weights that the server starts it from.

        Parameters
        ----------
        spec : str or callable
            As for ``model=``.
        number : int
            Which of several fresh starts.
        """
        return self._made(spec, SERVER, number)

    def initial(self, client: int) -> nn.Module:
        """Return the model that clients of one architecture start from if they start alike.

        It is the one that the first client of the architecture makes from its own stream, for all
        methods alike: what two of them make of the same seed differs by the methods, not by chance.
        """
        first = self.instances.index(self.instances[client])
        return self._made(self.models[first], first, 0)

    def _made(self, spec: Any, client: int, number: int) -> nn.Module:
        with scoped(stream(self.seed, client, number, "model")):
            return build(spec, *self._about)

    def filled(self, client: int, vector: Tensor) -> nn.Module:
        """Return a model of a client's architecture with these parameters ``[size]``."""
        return unflatten(self.initial(client), vector)


Loss = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""(logits ``[rows, classes]``, the targets' rows of that batch) -> scalar loss."""


@dataclass(frozen=True)
class Study:
    """A model at the server that learns from targets on transfer samples.

    Parameters
    ----------
    model : nn.Module
        The model; `study` works on it in place, in whichever process it runs.
    x : Tensor
        ``[samples, *shape]``.
    targets : dict
        ``{name: [rows, ...]}``, as many rows a sample as a model returns for it.
    loss : callable
        Of logits and the targets' rows; a function of a module, or an object that pickles.
    epochs, batch_size, lr, seed
        Plain SGD with momentum 0.9 on batches shuffled from the seed.
    average_from : float or None
        Share of the steps, in [0, 1), after which the parameters are averaged over all that follow
        (SWA; BatchNorm's statistics are then taken anew); None = the last ones count.
    """

    model: nn.Module
    x: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)
    loss: Loss | None = None
    epochs: int = 1
    batch_size: int = 64
    lr: float = 0.05
    seed: int = 0
    average_from: float | None = None


def study(task: Study) -> tuple[Tensor, Tensor]:
    """Train if there is something to learn, then predict.

    It is a pure function of its task, for `fedkd.engine.BlockPool.map`.

    Returns
    -------
    vector : Tensor
        ``[size]``, the model's parameters as `fedkd.models.flat.flatten` gives them.
    logits : Tensor
        ``[rows, classes]`` of all samples, in evaluation mode.
    """
    with scoped(task.seed):
        if task.loss is not None:
            _train(task, task.loss)
        task.model.eval()
        with torch.no_grad():
            logits = torch.cat([rows_of(task.model(part)) for part in task.x.split(512)])
    return flatten(task.model), logits


def _train(task: Study, loss: Loss) -> None:
    task.model.train()
    optimizer = sgd(task.model.parameters(), task.lr, momentum=0.9)
    n = len(task.x)
    targets = {name: by_sample(each, len(each) // n) for name, each in task.targets.items()}
    steps, mean = _batches(task), None
    begin = len(steps) if task.average_from is None else int(task.average_from * len(steps))
    for step, rows in enumerate(steps):
        optimizer.zero_grad()
        logits = task.model(task.x[rows])
        batch = {name: value[rows] for name, value in targets.items()}
        if logits.dim() > 2:
            batch = {name: value.flatten(0, 1) for name, value in batch.items()}
        loss(rows_of(logits), batch).backward()
        optimizer.step()
        if step >= begin:
            mean = mean or AveragedModel(task.model)
            mean.update_parameters(task.model)
    if mean is not None:
        task.model.load_state_dict(mean.module.state_dict())
        update_bn([task.x[rows] for rows in _batches(replace(task, epochs=1))], task.model)


def _batches(task: Study) -> list[Tensor]:
    """Return the rows of each step of all epochs."""
    generator = torch.Generator().manual_seed(task.seed)
    n = len(task.x)
    epochs = [torch.randperm(n, generator=generator) for _ in range(task.epochs)]
    steps = [rows for order in epochs for rows in order.split(task.batch_size)]
    return [rows for rows in steps if len(rows) > 1 or n == 1]  # BatchNorm cannot train on one
