"""What ``model=`` may be: a zoo name, a class of the user's, each with parameters; a list of them.

A spec with parameters is ``{"name": ..., parameter: value}``. What makes the model is then a
`functools.partial`, so that its name has them and no two architectures are called alike.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from ..errors import ConfigError, one_line, shortened
from ..plugins.finding import checked, signature
from ..plugins.loading import load_object
from ..plugins.table import SEAMS
from .embedding_bag import EmbeddingBag
from .fedmd import FedMD2, FedMD3
from .gru import GRU
from .huggingface import huggingface
from .lenet5 import LeNet5
from .mlp import MLP
from .resnet8 import ResNet8
from .shapes import Shape, Tokens
from .textcnn import TextCNN
from .transformer import Transformer

ZOO: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "lenet5": LeNet5,
    "fedmd_cnn2": FedMD2,
    "fedmd_cnn3": FedMD3,
    "resnet8": ResNet8,
    "embedding_bag": EmbeddingBag,
    "textcnn": TextCNN,
    "gru": GRU,
    "transformer": Transformer,
    "huggingface": huggingface,
}

AUTO = "auto"
"""What stands for the quickest model that takes the samples."""

_NAMED = 80
"""Characters that a name has of a parameter's value."""


def settled(model: Any, shape: Shape, each: bool = False, usual: str = "mlp") -> Any:
    """Return a spec, or a list, in which ``auto`` is the model for samples of this shape.

    `each` says whether it is to answer at every place of a text, `usual` what is for pictures and
    numbers.

    Examples
    --------
    >>> settled("auto", (1, 8, 8)), settled({"name": "auto", "dim": 8}, Tokens(16, 300))
    ('mlp', {'name': 'embedding_bag', 'dim': 8})
    """
    if isinstance(model, list | tuple):
        return [settled(one, shape, each, usual) for one in model]
    if isinstance(model, Mapping):
        return {**model, "name": settled(model.get("name"), shape, each, usual)}
    quick = ("gru" if each else "embedding_bag") if isinstance(shape, Tokens) else usual
    return quick if isinstance(model, str) and model == AUTO else model


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


def factories(model: Any, clients: int) -> list[Callable[..., Any]]:
    """Return what makes each client's model; clients of one spec have the same object."""
    made: dict[Any, Callable[..., Any]] = {}
    found = []
    for spec in deal(model, clients):
        key = repr(spec) if isinstance(spec, str | Mapping) else id(spec)
        if key not in made:
            made[key] = factory(spec)
        found.append(made[key])
    return found


def factory(spec: Any) -> Callable[..., Any]:
    """Return the callable that a model spec names; `ConfigError` if there is none.

    Examples
    --------
    >>> model_name(factory({"name": "mlp", "hidden": 64}))
    'MLP(hidden=64)'
    >>> factory({"name": "mlp", "hiden": 64})
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model.hiden=64: unknown key, mlp has no such parameter; \
did you mean 'model.hidden'? (allowed: model.hidden)
    """
    if isinstance(spec, Mapping):
        return _with_parameters(spec)
    if spec == AUTO and isinstance(spec, str):
        return undecided
    if isinstance(spec, str) and (":" in spec or spec.endswith(".py")):
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


def undecided() -> nn.Module:
    """Stand for ``auto`` until the data are known."""
    raise ConfigError("model", AUTO, "is decided by the data; name a model")


def _with_parameters(spec: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a factory with some of its parameters given."""
    name, given = spec.get("name"), {key: spec[key] for key in spec if key != "name"}
    if not isinstance(name, str):
        problem = "must be a name or FILE.py:Class; of a Python class give functools.partial(...)"
        raise ConfigError("model.name", name, problem, ZOO)
    make = factory(name)
    if make is undecided or not given:
        return make
    accepted = {
        key: kind for key, kind in signature(make).items() if key not in SEAMS["models"].filled
    }
    return partial(make, **checked(name, given, accepted, "model"))


def model_name(spec: Any) -> str:
    """Return how a model is called in messages and tables.

    Examples
    --------
    >>> model_name("lenet5"), model_name(MLP), model_name({"name": "mlp", "hidden": 64})
    ('lenet5', 'MLP', 'mlp(hidden=64)')
    """
    if isinstance(spec, str):
        return spec
    if isinstance(spec, Mapping):
        own = [_told(key, value) for key, value in spec.items() if key != "name"]
        return _called(str(spec.get("name")), own)
    if isinstance(spec, partial):
        own = [shortened(value) for value in spec.args]
        return _called(
            model_name(spec.func), own + [_told(k, value) for k, value in spec.keywords.items()]
        )
    return str(getattr(spec, "__name__", type(spec).__name__))


def model_names(specs: Sequence[Any]) -> list[str]:
    """Return how models are called beside one another: no two that differ have one name.

    Examples
    --------
    >>> one, two = lambda: nn.Linear(64, 10), lambda: nn.Linear(64, 10, bias=False)
    >>> model_names([one, two, one])
    ['<lambda>', '<lambda> (2)', '<lambda>']
    """
    kin: dict[str, list[Any]] = {}
    names = []
    for spec in specs:
        alike = kin.setdefault(name := model_name(spec), [])
        place = next((i for i, one in enumerate(alike) if one is spec or _same(one, spec)), None)
        if place is None:
            place = len(alike)
            alike.append(spec)
        names.append(f"{name} ({place + 1})" if place else name)
    return names


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str | Mapping) and type(one) is type(other) and one == other


def _called(name: str, parameters: list[str]) -> str:
    return f"{name}({', '.join(parameters)})" if parameters else name


def _told(key: str, value: Any) -> str:
    return f"{key}={one_line(shortened(value), _NAMED)}"
