"""Where ``fit.align`` makes sense."""

from torch import nn

from ..clients import Parts
from ..clients.active import ActiveLearner
from ..config import RunConfig
from ..errors import ConfigError
from ..knowledge import kind_named
from ..models import model_names
from ..models.features import head, headless
from ..rounds.protocol import Strategy


def check_align(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse to align heads where nobody labels samples with them, or it would tell too much.

    Raises
    ------
    ConfigError
        If the task has no classes, clients do not label transfer samples with the model that they
        fit, a guarantee is on (how often a client has a class is private), or most labels are still
        to be asked for.
    """
    if not config.fit.align:
        return
    problem = None
    if not parts.task.needs_classes:
        problem = f"is about classes, and the task is {config.task['name']}"
    elif strategy.exchange is None or not kind_named(parts.exchange.kind).on_samples:
        problem = f"is for clients that label transfer samples, not {config.strategy['name']}"
    elif parts.privacy.protects:
        kinds = " and ".join(parts.privacy.mechanisms)
        problem = f"uses how many samples of each class a client has, which {kinds} must not tell"
    elif isinstance(parts.exchange, ActiveLearner):
        problem = f"uses all labels of a client, and {config.strategy['name']} knows some of them"
    _refuse(config, problem)


def check_heads(config: RunConfig, parts: Parts, instances: list[nn.Module], classes: int) -> None:
    """Refuse to align models whose last linear layer has not one row a class.

    Raises
    ------
    ConfigError
        For the first.
    """
    if not config.fit.align:
        return
    named = dict(zip(model_names(parts.models), instances, strict=True))
    wide = [name for name, one in named.items() if not headless({name: one})]
    wide = [name for name in wide if head(named[name]).out_features != classes]
    problem = None
    if missing := headless(named):
        problem = f"scales the last linear layer, and model {missing}"
    elif wide:
        problem = f"the last linear layer of model {wide[0]} has no row for each class"
    _refuse(config, problem)


def _refuse(config: RunConfig, problem: str | None) -> None:
    if problem is not None:
        raise ConfigError("fit.align", config.fit.align, f"{problem}; set it to false")
