"""The model zoo, and everything else that can be a client's model.

A model is given as a zoo name, as ``FILE.py:Class`` or ``package.module:Class``, as one of these
with parameters (``{"name": "mlp", "hidden": 64}``), or in Python as any callable that returns an
``nn.Module``; a list of them is dealt to the clients in turn. Models take ``[batch, *shape]`` and
return logits ``[batch, classes]``, or of next tokens ``[batch, length, vocabulary]``.

Building draws from torch's global generator: wrap it in `fedkd.rng.scoped`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..ending import is_interrupt
from ..errors import ConfigError
from ..rng import scoped
from ..tasks.samples import blank, made_up, vocabulary
from .fedmd import FedMD2, FedMD3
from .huggingface import adapted
from .lenet5 import LeNet5
from .mlp import MLP
from .resnet8 import ResNet8
from .shapes import ANSWERING, Shape
from .specs import ZOO, deal, factories, factory, model_name, model_names, settled
from .usable import refuse_shared, refuse_unusable

__all__ = [
    "MLP",
    "ZOO",
    "FedMD2",
    "FedMD3",
    "LeNet5",
    "Outputs",
    "ResNet8",
    "build",
    "check_model",
    "deal",
    "factories",
    "factory",
    "model_name",
    "model_names",
    "refuse_shared",
    "settled",
    "shape_of",
]

_SHAPE_NAMES = ("shape", "in_shape", "input_shape")
_OUTPUTS_NAMES = ("outputs", "classes", "num_classes")


Outputs = int | tuple[int, ...]
"""What a model returns for a sample: so many numbers, or a shape ``(*places, size)``."""


def build(spec: Any, shape: Shape, classes: Outputs, task: str = "classification") -> nn.Module:
    """Return a freshly initialised model.

    Parameters
    ----------
    spec : str, mapping or callable
        Zoo name, ``auto``, ``FILE.py:Class``, ``package.module:Class``, one of them with
        parameters, or a callable. It gets those of the keyword arguments ``shape`` (or
        ``in_shape``, ``input_shape``), ``outputs`` (or ``classes``, ``num_classes``), ``task`` and,
        where samples are texts, ``vocabulary`` and ``per_token`` that its signature names.
    shape : tuple of int
        Shape of one sample: ``(channels, height, width)``, ``(features,)`` or `Tokens`.
    classes : int or tuple of int
        Number of logits; ``(places, size)`` for `size` of them at every place.
    task : str
        What the samples mean.

    Raises
    ------
    ConfigError
        If there is no such model, it cannot be built, or it is not an ``nn.Module``; if it answers
        once for a text, and is to do so after each token.

    Examples
    --------
    >>> build("mlp", (64,), 10)(torch.zeros(3, 64)).shape
    torch.Size([3, 10])
    >>> build(lambda num_classes: nn.LazyLinear(num_classes), (64,), 10).out_features
    10
    >>> build("mpl", (64,), 10)
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=mpl: no such model, and neither FILE.py:Class nor \
package.module:Class; did you mean 'mlp'? (allowed: embedding_bag, fedmd_cnn2, fedmd_cnn3, gru, \
huggingface, lenet5, mlp, resnet8, textcnn, transformer)
    """
    spec = settled(spec, shape, len(shape_of(classes)) > 1)
    name, make = model_name(spec), factory(spec)
    try:
        model = make(**_arguments(make, shape, classes, task))
    except ConfigError:
        raise
    except BaseException as error:  # sys.exit, too
        if is_interrupt(error):
            raise
        raise ConfigError("model", name, f"cannot be built: {_line(error)}") from error
    if not isinstance(model, nn.Module):
        problem = f"must return a torch.nn.Module, not {type(model).__name__}"
        raise ConfigError("model", name, problem)
    model = adapted(model)
    if any(is_lazy(parameter) for parameter in model.parameters()):
        _materialise(model, name, shape)
    return model


def check_model(
    spec: Any, shape: Shape, classes: Outputs, trains: bool = True, task: str = "classification"
) -> nn.Module:
    """Build a model, run two random samples through it, and return it if clients can have it.

    The global generators are left as they were. Parameters as for `build`; `trains` says whether
    it must have something to train.

    Raises
    ------
    ConfigError
        If the model cannot be built or run, has nothing to train, or returns anything but finite
        float32 logits ``[2, classes]``, in training or in evaluation mode; if it is the same one
        each time it is built, or cannot be checkpointed (`fedkd.models.usable`); if it is to say
        what follows each token, and has seen it.

    Examples
    --------
    >>> check_model(lambda: nn.Linear(64, 7), (64,), 10)
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=<lambda>: must return logits of shape (2, 10) for 2 samples, \
but returned shape (2, 7)
    """
    name = model_name(spec)
    with scoped(0), torch.no_grad():
        model = build(spec, shape, classes, task)
        refuse_unusable(name, model)
        refuse_shared([(name, model), (name, build(spec, shape, classes, task))])
        x = made_up(shape, 2)
        for training in (True, False):
            try:
                logits = model.train(training)(x)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                problem = f"fails on 2 samples of shape {tuple(shape)}: {_line(error)}"
                raise ConfigError("model", name, problem) from error
            _check_logits(name, logits, shape_of(classes))
        size = vocabulary(shape)
        if len(shape_of(classes)) > 1 and size and looks_ahead(model, x, size):
            problem = "what it says of a token depends on later ones, which it is to predict; mask "
            raise ConfigError("model", name, f"{problem}those, or use one of", ANSWERING)
    if trains and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("model", name, "has no parameters to train")
    return model


def shape_of(outputs: Outputs) -> tuple[int, ...]:
    """Return the shape of what a model returns for a sample."""
    return (outputs,) if isinstance(outputs, int) else outputs


def looks_ahead(model: nn.Module, x: Tensor, size: int) -> bool:
    """Say whether what a model returns for a token depends on later ones, in evaluation mode.

    Parameters
    ----------
    model : nn.Module
    x : Tensor
        ``[n, length]`` token ids; those of the second half are changed.
    size : int
        The vocabulary's.
    """
    middle = (x.shape[1] + 1) // 2
    full = x.clamp(min=1)
    other = torch.cat([full[:, :middle], full[:, middle:] % (size - 1) + 1], dim=1)
    one, two = (model.eval()(each)[:, :middle] for each in (full, other))
    return not torch.allclose(one, two, rtol=1e-4, atol=1e-5)


def _materialise(model: nn.Module, name: str, shape: Shape) -> None:
    """Let lazy layers find their sizes: a client's model is copied before it sees any data."""
    try:
        with torch.no_grad():
            model.eval()(blank(shape, 2))
    except BaseException as error:
        if is_interrupt(error):
            raise
        problem = f"fails on 2 samples of shape {tuple(shape)}: {_line(error)}"
        raise ConfigError("model", name, problem) from error
    model.train()


def _arguments(
    factory: Callable[..., Any], shape: Shape, classes: Outputs, task: str
) -> dict[str, Any]:
    """Keyword arguments that the signature names; ``**kwargs`` is not taken as a wish for them."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # built-ins may have none
        return {}
    size, (*places, width) = vocabulary(shape), shape_of(classes)
    known = tuple(shape) if size is None else shape
    texts = {"vocabulary": size, "per_token": bool(places)}
    offered: dict[str, Any] = {"task": task} | ({} if size is None else texts)
    offered |= dict.fromkeys(_SHAPE_NAMES, known) | dict.fromkeys(_OUTPUTS_NAMES, width)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {k: v for k, v in offered.items() if k in parameters and parameters[k].kind in by_name}


def _check_logits(name: str, logits: object, outputs: tuple[int, ...]) -> None:
    expected = f"must return logits of shape {(2, *outputs)} for 2 samples, but returned"
    if not isinstance(logits, torch.Tensor):
        hint = "; call its input input_ids, or return its logits" * hasattr(logits, "logits")
        raise ConfigError("model", name, f"{expected} a {type(logits).__name__}{hint}")
    if tuple(logits.shape) != (2, *outputs):
        allowed = ANSWERING if len(outputs) > 1 else ()
        raise ConfigError("model", name, f"{expected} shape {tuple(logits.shape)}", allowed)
    if logits.dtype != torch.float32:
        problem = f"must return float32 logits, not {logits.dtype}; end forward with .float()"
        raise ConfigError("model", name, problem)
    if not bool(logits.isfinite().all()):
        raise ConfigError("model", name, "must return finite logits")


def _line(error: BaseException) -> str:
    """Return the error as one line, as configuration messages are."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
