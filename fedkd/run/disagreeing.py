"""Where ``transfer.hard`` makes sense."""

from ..clients import Parts
from ..config import RunConfig
from ..errors import ConfigError
from ..knowledge import Kind, kind_named
from ..rounds.protocol import Strategy


def check_hard(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse to choose views by disagreement where the server does not see clients disagree.

    Raises
    ------
    ConfigError
        If clients do not upload what they make of transfer samples, each by itself, or what they
        upload cannot be compared, or there is one client, sample or round alone.
    """
    if not config.transfer.hard:
        return
    kind, name = kind_named(parts.exchange.kind), config.strategy["name"]
    blind = [one for one, mechanism in parts.privacy.mechanisms.items() if mechanism.fusion]
    shown = min(one for one in (config.transfer.per_round, config.transfer.size, 2) if one)
    problem = None
    if strategy.exchange is None or not kind.on_samples:
        problem = f"is for clients that label transfer samples, not {name}"
    elif type(kind).apart is Kind.apart:
        problem = f"compares what clients say, and their {kind} do not say how far they are apart"
    elif config.secure.aggregation:
        problem = "looks at what each client uploads, and secure.aggregation=true shows their sum"
    elif blind:
        problem = f"looks at what each client uploads, and privacy {blind[0]} shows noisy votes"
    elif config.cohort < 2:
        problem = f"needs two clients a round to disagree, and there is {config.cohort}"
    elif config.rounds < 2:
        problem = "tries views from the second round on, and there is one; have more"
    elif shown < 2:
        problem = "compares the samples of a round, and there is one; have more"
    if problem is not None:
        join = ", or" if problem.endswith("have more") else ";"
        raise ConfigError("transfer.hard", True, f"{problem}{join} set it to false")
