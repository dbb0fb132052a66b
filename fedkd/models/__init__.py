"""The model zoo, and everything else that can be a client's model.

A model is given as a zoo name, as ``FILE.py:Class`` or ``package.module:Class``, or in Python as
any callable that returns an ``nn.Module``; a list of them is dealt to the clients in turn. Models
take ``[batch, *shape]`` and return logits ``[batch, classes]``.

Building draws from torch's global generator: wrap it in `fedkd.rng.scoped`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..errors import ConfigError
from ..exits import is_interrupt
from ..rng import scoped
from .fedmd import FedMD2, FedMD3
from .lenet5 import LeNet5
from .mlp import MLP
from .resnet8 import ResNet8
from .shapes import Shape
from .usable import refuse_shared, refuse_unusable

__all__ = ["ZOO", "build", "check_model", "deal", "factory", "model_name", "refuse_shared"]

ZOO: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "lenet5": LeNet5,
    "fedmd_cnn2": FedMD2,
    "fedmd_cnn3": FedMD3,
    "resnet8": ResNet8,
}
_SHAPE_NAMES = ("shape", "in_shape", "input_shape")
_CLASSES_NAMES = ("classes", "num_classes")


def build(spec: Any, shape: Shape, classes: int) -> nn.Module:
    """Return a freshly initialised model.

    Parameters
    ----------
    spec : str or callable
        Zoo name, ``FILE.py:Class``, ``package.module:Class``, or a callable. Callables get those of
        the keyword arguments ``shape`` (or ``in_shape``, ``input_shape``) and ``classes`` (or
        ``num_classes``) that their signature names.
    shape : tuple of int
        Shape of one sample: ``(channels, height, width)`` or ``(features,)``.
    classes : int
        Number of logits.

    Raises
    ------
    ConfigError
        If there is no such model, it cannot be built, or it is not an ``nn.Module``.

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
package.module:Class; did you mean 'mlp'? (allowed: fedmd_cnn2, fedmd_cnn3, lenet5, mlp, resnet8)
    """
    name, make = model_name(spec), factory(spec)
    try:
        model = make(**_arguments(make, shape, classes))
    except ConfigError:
        raise
    except BaseException as error:  # sys.exit, too
        if is_interrupt(error):
            raise
        raise ConfigError("model", name, f"cannot be built: {_line(error)}") from error
    if not isinstance(model, nn.Module):
        problem = f"must return a torch.nn.Module, not {type(model).__name__}"
        raise ConfigError("model", name, problem)
    if any(is_lazy(parameter) for parameter in model.parameters()):
        _materialise(model, name, shape)
    return model


def deal(model: Any, clients: int) -> list[Any]:
    """Return each client's model spec: the one given, or those of a list in turn.

    Raises
    ------
    ConfigError
        If the list is empty.

    Examples
    --------
    >>> deal(["mlp", "lenet5"], 5)
    ['mlp', 'lenet5', 'mlp', 'lenet5', 'mlp']
    """
    several = isinstance(model, Sequence) and not isinstance(model, str | nn.Module)
    specs = list(model) if several else [model]
    if not specs:
        raise ConfigError("model", "[]", "the list must name at least one model")
    return [specs[client % len(specs)] for client in range(clients)]


def check_model(spec: Any, shape: Shape, classes: int, trains: bool = True) -> nn.Module:
    """Build a model, run two random samples through it, and return it if clients can have it.

    The global generators are left as they were. Parameters as for `build`; `trains` says whether
    it must have something to train.

    Raises
    ------
    ConfigError
        If the model cannot be built or run, has nothing to train, or returns anything but finite
        float32 logits ``[2, classes]``, in training or in evaluation mode; if it is the same one
        each time it is built, or cannot be checkpointed (`fedkd.models.usable`).

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
        model = build(spec, shape, classes)
        refuse_unusable(name, model)
        refuse_shared([(name, model), (name, build(spec, shape, classes))])
        x = torch.randn(2, *shape)
        for training in (True, False):
            try:
                logits = model.train(training)(x)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                problem = f"fails on 2 samples of shape {tuple(shape)}: {_line(error)}"
                raise ConfigError("model", name, problem) from error
            _check_logits(name, logits, classes)
    if trains and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("model", name, "has no parameters to train")
    return model


def model_name(spec: Any) -> str:
    """Return how a model is called in messages and tables.

    Examples
    --------
    >>> model_name("lenet5"), model_name(MLP)
    ('lenet5', 'MLP')
    """
    if isinstance(spec, str):
        return spec
    inner = getattr(spec, "func", spec)  # functools.partial
    return str(getattr(inner, "__name__", type(inner).__name__))


def factory(spec: Any) -> Callable[..., Any]:
    """Return the callable that a model spec names; `ConfigError` if there is none."""
    if isinstance(spec, str) and (":" in spec or spec.endswith(".py")):
        from ..plugins import load_object

        spec = load_object(spec, key="model")
    if isinstance(spec, str):
        if spec in ZOO:
            return ZOO[spec]
        problem = "no such model, and neither FILE.py:Class nor package.module:Class"
        raise ConfigError("model", spec, problem, ZOO)
    if isinstance(spec, nn.Module):
        problem = "is a built model; give its class or a function, as each client needs its own"
        raise ConfigError("model", model_name(spec), problem)
    if not callable(spec):
        problem = f"must be a name, FILE.py:Class or a callable, not {type(spec).__name__}"
        raise ConfigError("model", spec, problem, ZOO)
    return spec


def _materialise(model: nn.Module, name: str, shape: Shape) -> None:
    """Let lazy layers find their sizes: a client's model is copied before it sees any data."""
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(2, *shape))
    except BaseException as error:
        if is_interrupt(error):
            raise
        problem = f"fails on 2 samples of shape {tuple(shape)}: {_line(error)}"
        raise ConfigError("model", name, problem) from error
    model.train()


def _arguments(factory: Callable[..., Any], shape: Shape, classes: int) -> dict[str, Any]:
    """Keyword arguments that the signature names; ``**kwargs`` is not taken as a wish for them."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # built-ins may have none
        return {}
    offered = dict.fromkeys(_SHAPE_NAMES, tuple(shape)) | dict.fromkeys(_CLASSES_NAMES, classes)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {k: v for k, v in offered.items() if k in parameters and parameters[k].kind in by_name}


def _check_logits(name: str, logits: object, classes: int) -> None:
    expected = f"must return logits of shape (2, {classes}) for 2 samples, but returned"
    if not isinstance(logits, torch.Tensor):
        raise ConfigError("model", name, f"{expected} a {type(logits).__name__}")
    if tuple(logits.shape) != (2, classes):
        raise ConfigError("model", name, f"{expected} shape {tuple(logits.shape)}")
    if logits.dtype != torch.float32:
        problem = f"must return float32 logits, not {logits.dtype}; end forward with .float()"
        raise ConfigError("model", name, problem)
    if not bool(logits.isfinite().all()):
        raise ConfigError("model", name, "must return finite logits")


def _line(error: BaseException) -> str:
    """Return the error as one line, as configuration messages are."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
