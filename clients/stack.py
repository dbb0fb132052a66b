"""Models of one architecture as one: their parameters stacked, ``[models, ...]`` each."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ..tasks.rows import rows_of
from .passes import PREDICT_BATCH

Tensors = dict[str, Tensor]


class Stack:
    """Copies of some models' parameters and buffers, and the function that they all are.

    Parameters
    ----------
    models : sequence of nn.Module
        At least one; of equal `fedkd.clients.architectures.architecture`.

    Attributes
    ----------
    parameters, buffers : dict of Tensor
        ``[models, ...]`` by name, without gradient.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = models
        parameters, self.buffers = stack_module_state(list(models))
        self.parameters = {name: p.detach() for name, p in parameters.items()}
        self.skeleton = copy.deepcopy(models[0]).to("meta")

    def __call__(self, parameters: Tensors, buffers: Tensors, x: Tensor, common: bool) -> Tensor:
        """Return the logits ``[models, batch, classes]`` of the first so many models.

        Parameters
        ----------
        parameters, buffers : dict of Tensor
            As many models as are wanted.
        x : Tensor
            ``[models, batch, *shape]``, or ``[batch, *shape]`` where it is `common` to all.
        common : bool
            Which of the two.
        """
        logits: Tensor = vmap(self._forward, (0, 0, None if common else 0))(parameters, buffers, x)
        return logits

    def _forward(self, parameters: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.skeleton, (parameters, buffers), (x,))
        return logits

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy parameters and buffers into the models."""
        own = [dict([*m.named_parameters(), *m.named_buffers()]) for m in self.models]
        for name, values in {**self.parameters, **self.buffers}.items():
            torch._foreach_copy_([tensors[name] for tensors in own], list(values.unbind()))


@torch.no_grad()
def predictions(models: Sequence[nn.Module], xs: Sequence[Tensor]) -> list[Tensor]:
    """Return each model's logits on its samples, ``[rows, classes]``, on the CPU.

    Parameters
    ----------
    models : sequence of nn.Module
        See `Stack`; in evaluation mode.
    xs : sequence of Tensor
        ``[samples, *shape]`` each, equally many, where the models are; the same object where
        clients share samples.

    Examples
    --------
    >>> models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    >>> [logits.shape for logits in predictions(models, [torch.ones(5, 3)] * 2)]
    [torch.Size([5, 2]), torch.Size([5, 2])]
    """
    stack, common = Stack(models), all(x is xs[0] for x in xs)
    answers = []
    for parts in zip(*(x.split(PREDICT_BATCH) for x in xs), strict=True):
        x = parts[0] if common else torch.stack(parts)
        answers.append(stack(stack.parameters, stack.buffers, x, common))
    return [rows_of(one) for one in torch.cat(answers, dim=1).cpu()]
