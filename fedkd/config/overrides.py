"""From Hydra overrides, or from `simulate`'s keywords, to a checked `RunConfig`.

Override values are read by Hydra's parser, and what is in a preset (``experiment=NAME``) or in a
run's ``config.yaml`` is read as overrides are. Three things are added: ``strategy=knfu`` means
``strategy.name=knfu`` (see `schema.NAMED`), a value that Hydra's lexer cannot take, such as a path,
is quoted, and every error is a `ConfigError`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import ConfigError
from .grammar import PATHS, parse, raw_value, split_study, sweep, sweep_names
from .items import REMOVED, Items, first_line, put
from .saved import saved_config
from .schema import NAMED
from .settings import RunConfig
from .trust import vet

__all__ = ["compose", "merge", "presets", "split_study", "sweep", "sweep_names"]


def compose(overrides: Iterable[str] = (), **nested: Any) -> RunConfig:
    """Return the configuration that Hydra overrides describe.

    Parameters
    ----------
    overrides : iterable of str
        ``KEY=VALUE`` in Hydra's grammar, without sweeps; ``experiment=NAME`` starts from a preset.
    **nested
        More of them, as `merge` takes them.

    Raises
    ------
    ConfigError
        For an unknown key or preset, a wrong type or value, an override that cannot be read, or
        ``resume=`` of a directory that is not the user's and names code (`fedkd.config.trust`).

    Examples
    --------
    >>> config = compose(["strategy=fedmd", "strategy.exchange=logits", "data=mnist", "fit.lr=0.1"])
    >>> config.strategy, config.data.name, config.fit.lr
    ({'name': 'fedmd', 'exchange': 'logits'}, 'mnist', 0.1)
    """
    items: Items = []
    for text in overrides:
        parsed = parse(text)
        if parsed.is_sweep_override():
            problem = "is a sweep: add -m, or write [a,b] for a list"
            raise ConfigError(parsed.key_or_group, raw_value(parsed), problem)
        items.append((parsed.key_or_group, REMOVED if parsed.is_delete() else parsed.value()))
    chosen = [value for key, value in items if key == "experiment"]
    settings = [item for item in items if item[0] != "experiment"] + list(nested.items())
    resumed = [value for key, value in items if key == "resume" and value is not None]
    if resumed and chosen:
        raise ConfigError("experiment", chosen[-1], "a resumed run has its own configuration")
    tree = _saved(resumed[-1]) if resumed else _preset(chosen[-1] if chosen else None)
    if resumed:
        settings = [item for item in settings if not _same_place(tree, *item)]
    config = _apply(tree, settings)
    if resumed:
        given = set(_texts([value for _, value in settings]))
        vet(resumed[-1], config.to_dict(), "resume", given=given, trusted=config.trust)
    return config


def merge(base: RunConfig, **nested: Any) -> RunConfig:
    """Return `base` with some values replaced.

    Parameters
    ----------
    base : RunConfig
        Is not changed.
    **nested
        Values, nested dicts, or dotted keys (``**{"fit.lr": 0.1}``).

    Raises
    ------
    ConfigError
        For an unknown key, or a wrong type or value.

    Examples
    --------
    >>> config = merge(RunConfig(), data="mnist", fit={"lr": 0.1}, strategy={"beta": 2.0})
    >>> config.data.name, config.fit.lr, config.strategy
    ('mnist', 0.1, {'name': 'knfu', 'beta': 2.0})
    """
    usual = base == RunConfig()
    return _apply(deepcopy(_usual()) if usual else OmegaConf.structured(base), list(nested.items()))


def presets() -> dict[str, Path]:
    """Return the files of the ``experiment=NAME`` presets by name."""
    return {path.stem: path for path in sorted((_conf() / "experiment").glob("*.yaml"))}


def _conf() -> Path:
    return Path(str(files("fedkd.experiments"))) / "conf"


def _preset(name: Any) -> DictConfig:
    known = presets()
    if name is not None and str(name) not in known:
        raise ConfigError("experiment", name, "no such experiment", known)
    tree = deepcopy(_composed())
    if name is not None:
        put(tree, list(_written(known[str(name)]).items()))
    return tree


@cache  # a copy takes a twentieth of the time
def _composed() -> DictConfig:
    """Return what Hydra composes of schema and ``config.yaml``: copy it before you change it."""
    ConfigStore.instance().store(name="fedkd_schema", node=RunConfig)
    with _own_hydra():
        return hydra_compose("config", [])


@cache
def _usual() -> DictConfig:
    """Return the defaults on their own: copy them before you change them."""
    return OmegaConf.structured(RunConfig)


def _written(path: Path) -> dict[str, Any]:
    """Return what a preset says, with its interpolations."""
    try:
        found = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        problem = f"{path.name} cannot be read ({first_line(error)})"
        raise ConfigError("experiment", path.stem, problem) from error
    if not isinstance(found, dict):
        raise ConfigError("experiment", path.stem, f"{path.name} is no mapping of keys")
    return {str(key): value for key, value in found.items()}


def _saved(run_dir: Any) -> DictConfig:
    """Return the configuration of a run that is to go on."""
    tree, saved = deepcopy(_usual()), saved_config(run_dir)
    for key in ("resume", "force", "trust"):  # only whoever resumes it can say so
        saved.pop(key, None)
    _name_nodes(saved)
    try:
        OmegaConf.unsafe_merge(tree, saved)
    except OmegaConfBaseException as error:
        raise ConfigError("resume", run_dir, f"its config.yaml: {first_line(error)}") from error
    return tree


def _name_nodes(saved: dict[str, Any]) -> None:
    """Put ``{"name": NAME}`` where somebody has written a mere name, as in an override."""
    for key in NAMED:
        group, _, name = key.rpartition(".")
        node = saved.get(group) if group else saved
        if isinstance(node, dict) and isinstance(node.get(name), str):
            node[name] = {"name": node[name]}


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Lend Hydra's global state to fedkd: the caller may itself be a Hydra application."""
    instance, version = GlobalHydra.instance(), VersionBase.instance()
    outer, base = instance.hydra, version.version_base
    instance.clear()
    try:
        with initialize_config_dir(str(_conf()), job_name="fedkd", version_base="1.3"):
            yield
    finally:
        instance.hydra = outer
        GlobalHydra.set_instance(instance)
        version.version_base = base  # setbase() refuses "not set yet", which it may have been


def _same_place(tree: DictConfig, key: str, value: Any) -> bool:
    """Say whether a key's value is but another path to the file or folder that a run has."""
    if key not in PATHS or not isinstance(value, str | Path):
        return False
    saved = OmegaConf.select(tree, "data.name" if key == "data" else key)
    try:
        return saved is not None and Path(value).expanduser().samefile(saved)
    except (OSError, RuntimeError, ValueError):  # one of them is no path
        return False


def _apply(tree: DictConfig, given: Items) -> RunConfig:
    """Set the given items on a structured config, and return it as a checked `RunConfig`."""
    items = put(tree, given)
    try:
        config = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:  # such as ${fit.lrr}
        key = error.full_key or "override"
        raise ConfigError(key, dict(items).get(key), first_line(error)) from error
    assert isinstance(config, RunConfig)
    config.check()
    return config


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, at any depth."""
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
