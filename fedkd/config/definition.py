"""What a study is defined by: a YAML file, or the overrides of ``fedkd run -m``."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..errors import ConfigError
from .grammar import parse
from .saved import readable
from .yamls import from_yaml, to_yaml

FILE = "study.yaml"
"""The definition in a study's folder."""

KINDS: dict[str, tuple[type, ...]] = {
    "hypothesis": (str,),
    "tags": (list,),
    "presets": (list, str),
    "settings": (dict,),
    "grid": (dict,),
    "seeds": (list, str, int),
    "overrides": (list,),
}
"""What a study file may have, and what each of it is."""

OWN = {"seed": "seeds", "experiment": "presets"}
"""Keys of runs that have a name of their own in a study."""

SPOKEN = {str: "a text", list: "a list", dict: "a mapping", int: "a number"}


@dataclass(frozen=True)
class Definition:
    """A study as it is written down.

    Attributes
    ----------
    content : dict
        ``hypothesis`` and ``tags``, in words; ``presets``, by their names; ``settings``, the same
        for all runs; ``grid``, a list of values (or ``range()`` as a text) of each key; ``seeds``;
        and ``overrides``, as on the command line.

    Examples
    --------
    >>> grid = {"strategy": ["local", {"name": "knfu", "beta": 5}], "data.alpha": [0.1, 1]}
    >>> one = Definition({"settings": {"rounds": 5}, "grid": grid, "seeds": "range(0,3)"})
    >>> one.overrides
    ['rounds=5', 'strategy=local,{name:knfu,beta:5}', 'data.alpha=0.1,1', 'seed=range(0,3)']
    >>> one.extended(["rounds=9"]).overrides[-2:]
    ['seed=range(0,3)', 'rounds=9']
    """

    content: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path, key: str = "study") -> "Definition":
        """Return what a file says; `ConfigError`, naming `key`, if that is no study."""
        with readable(key, file, "cannot be read as a study"):
            content = from_yaml(file.read_text())
        if not isinstance(content, dict):
            raise ConfigError(key, file, "is no study: a mapping with a grid, seeds, ...", KINDS)
        return cls.checked(content, f" ({file})")

    @classmethod
    def checked(cls, content: Mapping[str, Any], where: str = "") -> "Definition":
        """Return a study of what it is to have.

        Raises
        ------
        ConfigError
            For a key that no study has, a value of another kind, a list without values, or a key
            that is given twice.
        """
        for name, value in content.items():
            if name not in KINDS:
                raise ConfigError(str(name), value, f"unknown key of a study{where}", KINDS)
            if not isinstance(value, KINDS[name]):
                kinds = " or ".join(SPOKEN[kind] for kind in KINDS[name])
                raise ConfigError(str(name), value, f"must be {kinds}{where}")
        _check_keys(content, where)
        return cls(content)

    def write(self, folder: Path) -> None:
        """Write the definition into the study's folder; its words stay where this has none."""
        before = Definition.read(folder / FILE)._words if (folder / FILE).is_file() else {}
        text = to_yaml(before | dict(self.content), allow_unicode=True)
        write_text(folder / FILE, text)

    @property
    def overrides(self) -> list[str]:
        """The same in Hydra's grammar."""
        return list(_overrides(self.content))

    @property
    def words(self) -> dict[str, str]:
        """What the study says for people."""
        tags = ", ".join(map(str, self.content.get("tags") or ()))
        said = {"hypothesis": str(self.content.get("hypothesis", "")).strip(), "tags": tags}
        return {name: text for name, text in said.items() if text}

    def extended(self, overrides: Iterable[str]) -> "Definition":
        """Return the study with overrides in place of what it says of the same keys."""
        given = [text for text in overrides if text]
        if not given:
            return self
        keys = {parse(text).key_or_group for text in given}
        kept = [text for text in self.overrides if parse(text).key_or_group not in keys]
        return Definition(self._words | {"overrides": [*kept, *given]})

    @property
    def _words(self) -> dict[str, Any]:
        return {key: self.content[key] for key in ("hypothesis", "tags") if key in self.content}


def _check_keys(content: Mapping[str, Any], where: str) -> None:
    """Fail where a list has no values, or a key of the runs is given in two places."""
    axes = {name: content[name] for name in OWN.values() if name in content}
    for name, values in {**axes, **content.get("grid", {})}.items():
        if values == []:
            raise ConfigError(name, values, f"has no value: no run at all{where}; give one")
    given = [(key, name) for name in ("settings", "grid") for key in content.get(name, {})]
    given += [(key, name) for key, name in OWN.items() if name in content]
    places: dict[str, str] = {}
    for key, place in given:
        if key in places:
            both = f"{places[key]} and {place}"
            value = content[place] if place in axes else content[place][key]
            raise ConfigError(key, value, f"is in {both}{where}; leave it out of one")
        places[key] = place


def _overrides(content: Mapping[str, Any]) -> Iterator[str]:
    if presets := content.get("presets"):
        yield f"experiment={_axis(presets)}"
    for key, value in content.get("settings", {}).items():
        yield f"{key}={_text(value)}"
    for key, values in content.get("grid", {}).items():
        yield f"{key}={_axis(values)}"
    if "seeds" in content:
        yield f"seed={_axis(content['seeds'])}"
    yield from map(str, content.get("overrides", ()))


def _axis(values: Any) -> str:
    """Return what a list spans; a text is in Hydra's grammar already."""
    if isinstance(values, str):
        return re.sub(r"\s*,\s*", ",", values)
    return ",".join(map(_text, values)) if isinstance(values, list) else _text(values)


def _text(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_text(inner)}' for key, inner in value.items())}}}"
    plain = str(value)
    if isinstance(value, str) and not re.fullmatch(r"[\w./:+%@~-]+", value):
        escaped = plain.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return plain
