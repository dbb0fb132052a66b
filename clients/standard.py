"""The default client loop: mini-batch training, one client after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation.base import Batch, Objective, Target
from ..models.features import watched
from ..tasks.rows import by_sample, rows_at, rows_of
from .augment import flip_crop
from .base import Client, ClientLoop
from .optimisers import carry, distilling, make_optimizer
from .passes import EXACT, Passes
from .recalling import recalled
from .resident import Resident


class Standard(ClientLoop):
    """The task's loss on private data, the objective on the teacher; a fresh optimiser each phase.

    A method may have the optimiser's state carried from fit to fit (`Client.carried`).
    """

    def __init__(self, *, fit: dict[str, Any], distil: dict[str, Any], device: str) -> None:
        super().__init__(fit=fit, distil=distil, device=device)
        self.resident, self.passes = Resident(device), Passes()

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Train on private data with the task's loss, plus what the method adds to it."""
        return [{"loss_fit": self._fit(client)} for client in clients]

    def _fit(self, client: Client) -> float:
        mu = float(client.options.get("proximal-mu", 0.0))
        penalty = proximal_term(client.model, mu) if mu else None
        x, y = self.resident(client.x), self.resident(client.y)
        augment = flip_crop if self.fit_config.get("augment") else None

        def loss(rows: Tensor) -> Tensor:
            batch, labels = x.index_select(0, rows), y.index_select(0, rows)  # faster than x[rows]
            if augment:
                batch = augment(batch, client.generator)
            logits = client.model(batch)
            adjusted = logits if client.log_prior is None else logits + client.log_prior
            value = self.private_loss(client, adjusted, labels)
            if client.extra_loss is not None:
                client.rows = rows
                value = value + client.extra_loss(logits, labels)
            return value if penalty is None else value + penalty()

        return self._train(client, len(x), client.settings(self.fit_config), loss, fitting=True)

    def private_loss(self, client: Client, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss on a private batch: outputs ``[batch, ...]``, labels ``[batch, ...]``."""
        return client.loss(logits, labels)

    def distil(
        self,
        clients: Sequence[Client],
        x: Tensor,
        teachers: Sequence[Target],
        objective: Objective,
    ) -> list[dict[str, float]]:
        """Train on the teachers with the objective."""
        pairs = zip(clients, teachers, strict=True)
        return [{"loss_distil": self._distil(c, x, t, objective)} for c, t in pairs]

    def _distil(self, client: Client, x: Tensor, teacher: Target, objective: Objective) -> float:
        objective.start(client.model)
        x, each = self.resident(x), max(1, len(teacher.values) // len(x))
        values = by_sample(teacher.values.to(self.device), each)
        labels, mask = (
            None if one is None else by_sample(one.to(self.device), each)
            for one in (teacher.labels, teacher.mask)
        )
        with (
            recalled(client, objective, self.device) as memory,
            watched(client.model, objective.looks_at(client.model)) as seen,
        ):

            def loss(rows: Tensor) -> Tensor:
                samples = x.index_select(0, rows)
                logits = rows_of(client.model(samples))
                target, places = rows_of(values.index_select(0, rows)), rows_at(rows, each)
                y = None if labels is None else labels.index_select(0, rows).flatten()
                features = {name: placed(one, each) for name, one in seen.items()}
                if mask is not None:
                    kept = mask.index_select(0, rows).flatten()
                    logits, target, places = logits[kept], target[kept], places[kept]
                    y = None if y is None else y[kept]
                    features = {name: one[kept] for name, one in features.items()}
                batch = Batch(samples, places, y, features or None, memory)
                return scalar(objective, objective(logits, teacher.part(target), batch))

            return self._train(
                client, len(x), self.distil_settings(objective), loss, objective.progress
            )

    def distil_settings(self, objective: Objective) -> dict[str, Any]:
        """Return what distillation trains with, see `distilling`."""
        return distilling(self.fit_config, self.distil_config, objective.trained_with)

    def _train(
        self,
        client: Client,
        samples: int,
        settings: dict[str, Any],
        loss: Callable[[Tensor], Tensor],
        progress: Callable[[float], None] = lambda fraction: None,
        fitting: bool = False,
    ) -> float:
        """Run the epochs and return the mean loss over all steps (0 without a step)."""
        client.model.train()
        carried, schedule = (client.carried, client.schedule) if fitting else (None, None)
        clip = client.clip if fitting else None
        optimizer = make_optimizer(client.model, settings, carried)
        total, steps = torch.zeros((), device=self.device), 0
        for epoch in range(settings["epochs"]):
            if schedule is not None:
                optimizer.param_groups[0]["lr"] = settings["lr"] * schedule(epoch)
            parts = batches(samples, settings["batch_size"], client.generator, self.device)
            for place, rows in enumerate(parts):
                progress((epoch + place / len(parts)) / settings["epochs"])
                optimizer.zero_grad()
                value = loss(rows)
                value.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(client.model.parameters(), clip)
                optimizer.step()
                total += value.detach()
                steps += 1
        optimizer.zero_grad()  # gradients that stay would double what a client takes
        if carried is not None:
            carry(optimizer, carried)
        return total.item() / max(steps, 1)

    @torch.no_grad()
    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        """Return logits in evaluation mode."""
        answers, x = [], self.resident(x)
        for client in clients:
            model = client.model.eval()
            way = EXACT if client.exact else self.passes.quickest(model, x)
            answers.append(way.logits(model, x).cpu())
        return answers


def scalar(objective: Objective, loss: Any) -> Tensor:
    """Return what an objective has returned, if it can be learnt from.

    Raises
    ------
    TypeError
        If it is anything but one number with a gradient.
    """
    if isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad:
        return loss
    got = f"a {type(loss).__name__}"
    if isinstance(loss, Tensor):
        got = f"a tensor {list(loss.shape)}" if loss.dim() else "a tensor without gradient"
    wanted = "a loss is a tensor of one number, with the gradient of student_logits"
    raise TypeError(f"objective {type(objective).__name__} returns {got}; {wanted}")


def placed(features: Tensor, each: int) -> Tensor:
    """Return a layer's numbers ``[B, ...]``; those of every token one after the other."""
    return features.flatten(0, 1) if each > 1 and features.shape[1:2] == (each,) else features


def batches(
    samples: int, size: int, generator: torch.Generator, device: str = "cpu"
) -> list[Tensor]:
    """Return the rows of one shuffled epoch, batch by batch.

    A single left-over sample joins the batch before it: BatchNorm cannot train on one.

    Examples
    --------
    >>> [len(rows) for rows in batches(8, 3, torch.Generator())]
    [3, 3, 2]
    >>> [len(rows) for rows in batches(7, 3, torch.Generator())]
    [3, 4]
    """
    parts = list(torch.randperm(samples, generator=generator).to(device).split(size))
    if len(parts) > 1 and len(parts[-1]) == 1 < size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def proximal_term(
    model: nn.Module, mu: float, centre: nn.Module | None = None
) -> Callable[[], Tensor]:
    """Return FedProx's penalty ``mu/2 * ||w - w_start||^2`` as a function of the current weights.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020. `centre` is a
    model of the same architecture whose weights take the place of the first ones.

    Examples
    --------
    >>> model, centre = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight), nn.init.ones_(centre.weight)
    >>> proximal_term(model, 1.0, centre)().item()
    0.5
    """
    start = [parameter.detach().clone() for parameter in (centre or model).parameters()]

    def penalty() -> Tensor:
        moved = zip(model.parameters(), start, strict=True)
        return mu / 2 * torch.stack([(now - then).square().sum() for now, then in moved]).sum()

    return penalty
