"""Samples that a server makes up of its clients' models, and what models of its own learn there.

The server's part of DENSE; `synthesise` is a pure function of its task, for a pool of blocks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..maths.mutual import divergence_from
from ..models.flat import flatten
from ..models.parts import BATCH_NORMS
from ..models.sgd import SGD, sgd
from ..rng import scoped
from .generator import Generator


@dataclass(frozen=True)
class Recipe:
    """How samples are made up and learnt from; see `Dense` for what each number is."""

    epochs: int
    steps: int
    batch_size: int
    latent: int
    width: int
    lr: float
    norms: float
    adversarial: float
    temperature: float
    passes: int
    student_lr: float


@dataclass(frozen=True)
class Synthesis:
    """What models at the server are to learn, and of whom.

    Parameters
    ----------
    teachers : sequence of nn.Module
        The clients' models.
    students : sequence of nn.Module
        The server's, as they are before.
    shape : tuple of int
        Shape of a sample: pictures have three dimensions, and numbers in [0, 1].
    classes : int
        Number of classes.
    recipe : Recipe
        How.
    seed : int
        Of all that is drawn.
    """

    teachers: Sequence[nn.Module]
    students: Sequence[nn.Module]
    shape: tuple[int, ...]
    classes: int
    recipe: Recipe
    seed: int

    def ensemble(self, x: Tensor) -> Tensor:
        """Return the mean logits of the teachers, ``[samples, classes]``."""
        return torch.stack([teacher(x) for teacher in self.teachers]).mean(dim=0)


def synthesise(task: Synthesis) -> list[Tensor]:
    """Return what each student has learnt, ``[size]``."""
    recipe, pool = task.recipe, list[tuple[Tensor, Tensor]]()
    with scoped(task.seed), matching(task.teachers) as gaps:
        for teacher in task.teachers:
            teacher.eval().requires_grad_(False)
        pairs = [(one, optimizer_of(one, recipe.student_lr)) for one in task.students]
        for _ in range(recipe.epochs):
            x = made_up(task, gaps)
            pool.append((x, task.ensemble(x).detach()))
            for student, optimizer in pairs:
                learn(student, optimizer, pool, recipe)
    return [flatten(student) for student in task.students]


def optimizer_of(student: nn.Module, lr: float) -> SGD | torch.optim.Optimizer:
    """Return the one that a student has for all of a round."""
    return sgd(student.parameters(), lr, momentum=0.9)


def learn(
    student: nn.Module,
    optimizer: SGD | torch.optim.Optimizer,
    pool: Sequence[tuple[Tensor, Tensor]],
    recipe: Recipe,
) -> None:
    """Train a student on the pool, batches of samples and of what the ensemble says of them."""
    student.train()
    for _ in range(recipe.passes):
        for place in torch.randperm(len(pool)).tolist():
            x, target = pool[place]
            optimizer.zero_grad()
            likened(student(x), target, recipe.temperature).backward()
            optimizer.step()


def made_up(task: Synthesis, gaps: list[Tensor]) -> Tensor:
    """Train a fresh generator; return its samples ``[batch, *shape]`` of the lowest loss."""
    recipe = task.recipe
    generator = Generator(task.shape, recipe.latent, recipe.width)
    noise = torch.randn(recipe.batch_size, recipe.latent, requires_grad=True)
    labels = torch.randint(task.classes, (recipe.batch_size,))
    for student in task.students:
        student.eval()
    optimizer = torch.optim.Adam([*generator.parameters(), noise], recipe.lr, betas=(0.5, 0.999))
    best, least = torch.zeros(0), inf
    for _ in range(recipe.steps):
        gaps.clear()
        x = generator(noise)
        ensemble = task.ensemble(x)
        loss = F.cross_entropy(ensemble, labels) + recipe.norms * sum(gaps)
        terms = [adversarial(ensemble, student(x)) for student in task.students]
        loss = loss + recipe.adversarial * torch.stack(terms).mean()
        if not len(best) or loss.item() < least:
            best, least = x.detach(), loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best


def adversarial(teacher: Tensor, student: Tensor) -> Tensor:
    """Return ``-mean[ 1(argmax differs) KL(teacher || student) ]``, a mean over the batch.

    Examples
    --------
    >>> adversarial(torch.tensor([[2.0, 1.0]]), torch.tensor([[9.0, 0.0]])).abs()
    tensor(0.)
    >>> adversarial(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))  # tanh(1/2)
    tensor(-0.4621)
    """
    log_q, log_p = teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)
    each = (log_q.exp() * (log_q - log_p)).sum(dim=-1)
    return -(each * (teacher.argmax(dim=-1) != student.argmax(dim=-1))).mean()


def likened(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 KL(softmax(teacher / T) || softmax(student / T))``, a mean over the batch."""
    return temperature**2 * divergence_from(teacher / temperature, student / temperature)


@contextmanager
def matching(models: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Watch all BatchNorm layers: yield a list to which each forward pass adds the layers' gaps.

    A gap is ``|var - running var| + |mean - running mean|`` of what goes into a layer, the norms
    over channels. Nothing is left in the models afterwards.

    Examples
    --------
    >>> model = nn.BatchNorm1d(1).eval()
    >>> with matching([model]) as gaps:
    ...     _ = model(torch.tensor([[-1.0], [1.0]])), model(torch.tensor([[2.0], [4.0]]))
    >>> gaps, len(model._forward_pre_hooks)
    ([tensor(0.), tensor(3.)], 0)
    """
    gaps: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mean, spread = layer.running_mean, layer.running_var
        if isinstance(mean, Tensor) and isinstance(spread, Tensor):  # else it keeps no statistics
            x = inputs[0].transpose(0, 1).flatten(1)
            apart = (x.var(dim=1, unbiased=False) - spread, x.mean(dim=1) - mean)
            gaps.append(apart[0].norm() + apart[1].norm())

    layers = [one for model in models for one in model.modules() if isinstance(one, BATCH_NORMS)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield gaps
    finally:
        for handle in handles:
            handle.remove()
