"""The fit of DP-SGD, around the default training loop."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from ...distillation.base import Objective, Target
from ...ending import contained
from ...errors import ConfigError
from ...privacy.noise import Source, normal, uniform
from ...rng import scoped
from ...tasks.samples import Shape, made_up
from ..augment import flip_crop
from ..base import Client, ClientLoop
from ..optimisers import carry, make_optimizer
from ..standard import Standard
from .base import Noisy

TRIED = 3
"""Samples that a model is tried out with."""


class PrivateFit(ClientLoop):
    """Fits with DP-SGD; distils and predicts as another loop does.

    Parameters
    ----------
    inner : Standard
        The loop whose private loss is minimised, and which does all else.
    clip : float
        Bound on the norm of each sample's gradient.
    mechanism : Noisy
        Noise, and where that comes from.
    """

    def __init__(self, inner: Standard, clip: float, mechanism: Noisy) -> None:
        super().__init__(fit=inner.fit_config, distil=inner.distil_config, device=inner.device)
        self.inner, self.clip, self.mechanism = inner, clip, mechanism

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Train on private data, one client after the other."""
        return [{"loss_fit": self._fit(client)} for client in clients]

    def distil(
        self,
        clients: Sequence[Client],
        x: Tensor,
        teachers: Sequence[Target],
        objective: Objective,
    ) -> list[dict[str, float]]:
        """Train on the teachers: their samples are public."""
        return self.inner.distil(clients, x, teachers, objective)

    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        """Return logits in evaluation mode."""
        return self.inner.predict(clients, x)

    def _fit(self, client: Client) -> float:
        """Run the epochs and return the mean loss over all steps with a sample (0 without one)."""
        if client.log_prior is not None or client.extra_loss is not None:
            raise RuntimeError("dp_sgd trains with the plain private loss only")
        client.model.train()
        source = None if self.mechanism.secure_rng else client.generator
        steps, losses = steps_of(len(client.y), self.fit_config["batch_size"]), []
        with per_sample(client.model) as module:
            optimizer = self._optimizer(client, len(client.y) / steps, source)
            for epoch in range(client.settings(self.fit_config)["epochs"]):
                if client.schedule is not None:
                    rate = self.fit_config["lr"] * client.schedule(epoch)
                    optimizer.original_optimizer.param_groups[0]["lr"] = rate
                for _ in range(steps):
                    rows = torch.nonzero(uniform((len(client.y),), source) < 1 / steps).flatten()
                    losses += self._step(client, module, optimizer, rows)
            optimizer.zero_grad(set_to_none=True)
        if client.carried is not None:
            carry(optimizer.original_optimizer, client.carried)
        return sum(losses) / max(len(losses), 1)

    def _step(self, client: Client, module: nn.Module, optimizer: Any, rows: Tensor) -> list[float]:
        """Take a step on these rows, perhaps none: then on noise alone."""
        optimizer.zero_grad()
        if not len(rows):
            for parameter in optimizer.params:
                parameter.grad_sample = parameter.new_zeros(0, *parameter.shape)
            optimizer.step()
            return []
        x, y = client.x[rows], client.y[rows].to(self.device)
        if self.fit_config.get("augment"):
            x = flip_crop(x, client.generator)
        logits = module(x.to(self.device))
        value = self.inner.private_loss(client, logits, y)
        value.backward()
        optimizer.step()
        return [value.item()]

    def _optimizer(self, client: Client, expected: float, source: Source) -> Any:
        """Return Opacus' optimiser around the run's; `expected` is the mean size of a batch."""
        own = make_optimizer(client.model, self.fit_config, client.carried)
        optimizer = library().optimizers.DPOptimizer(
            own,
            noise_multiplier=0.0,  # `_finish` adds it: from our sources, on any device
            max_grad_norm=self.clip,
            expected_batch_size=expected,
        )
        deviation = self.mechanism.noise() * self.clip / expected
        pull = _pull(client.model, float(client.options.get("proximal-mu", 0.0)))

        def finish(optimizer: Any) -> None:
            for parameter in optimizer.params:
                noise = normal(tuple(parameter.shape), source) * deviation
                parameter.grad += noise.to(parameter)
            pull()

        optimizer.attach_step_hook(finish)
        return optimizer


@contextmanager
def per_sample(model: nn.Module) -> Iterator[nn.Module]:
    """Have a model compute gradients sample by sample, and leave it as it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backward hooks, which Opacus knows about
        module: Any = library().GradSampleModule(model)
        try:
            yield module
        finally:
            module.to_standard_module()


def refusal_of(model: nn.Module, shape: Shape) -> str | None:
    """Say why a model has no gradients sample by sample; None if it has.

    Parameters
    ----------
    model : nn.Module
        One that Opacus' validator found nothing wrong with; it is left as it was.
    shape : tuple of int
        Shape of one sample.
    """
    made = copy.deepcopy(model).train()
    try:
        with contained(), scoped(0), per_sample(made) as module:
            module(made_up(shape, TRIED)).sum().backward()
            for name, parameter in made.named_parameters():
                found = getattr(parameter, "grad_sample", None)
                if parameter.requires_grad and (found is None or len(found) != TRIED):
                    return f"Opacus has no gradient of {name} for each sample"
    except Exception as error:  # whatever a layer raises that Opacus cannot handle
        return " ".join(f"Opacus fails on it: {type(error).__name__}: {error}".split())[:200]
    return None


def _pull(model: nn.Module, mu: float) -> Callable[[], None]:
    """Return what adds FedProx's pull ``mu (w - w_start)``, which no private record touches."""
    start = [parameter.detach().clone() for parameter in model.parameters()] if mu else []

    def add() -> None:
        for parameter, then in zip(model.parameters(), start, strict=False):
            assert parameter.grad is not None
            parameter.grad += mu * (parameter.detach() - then)

    return add


def steps_of(samples: int, batch_size: int) -> int:
    """Return the steps of an epoch, at least 1.

    Examples
    --------
    >>> steps_of(100, 32), steps_of(5, 32)
    (4, 1)
    """
    return max(1, ceil(samples / batch_size))


def library() -> Any:
    """Return ``opacus``.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import opacus
            import opacus.optimizers
            import opacus.validators
    except ImportError as error:
        problem = "needs opacus; pip install fedkd[privacy]"
        raise ConfigError("privacy", "dp_sgd", problem) from error
    return opacus
