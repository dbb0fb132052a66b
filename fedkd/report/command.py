"""The command that repeats a run."""

import re
import shlex
from typing import Any

from ..config import RunConfig
from ..config.schema import NAMED
from .statistics import Group, flatten, text


def command(group: Group) -> str:
    """Return the ``fedkd run`` command of a group: what differs from the defaults, and the seeds.

    Several seeds make it a sweep (``-m``).
    """
    config = group.runs[0].config
    words = ["fedkd", "run"] + (["-m"] if len(group.runs) > 1 else [])
    seeds = ",".join(str(seed) for seed in group.seeds)
    return shlex.join([*words, *overrides(config), f"seed={seeds}"])


def overrides(config: dict[str, Any]) -> list[str]:
    """Return the overrides that make `config` out of the defaults, without seed and run_dir.

    Examples
    --------
    >>> overrides({"strategy": {"name": "knfu", "beta": 5.0}, "fraction": 1.0, "rounds": 3})
    ['strategy=knfu', 'strategy.beta=5.0', 'rounds=3']
    """
    defaults = flatten(RunConfig().to_dict())
    words = []
    for key, value in sorted(flatten(config).items(), key=lambda item: item[0] != "strategy.name"):
        always = key == "strategy.name"
        if key in ("seed", "run_dir") or (not always and defaults.get(key, key) == value):
            continue
        group, _, last = key.rpartition(".")
        name = group if last == "name" and group in NAMED else key
        words.append(f"{name}={_quoted(value)}")
    return words


def _quoted(value: object) -> str:
    plain = text(value)
    if isinstance(value, str) and not re.fullmatch(r"[\w./:+%@~-]+", value):
        escaped = plain.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return plain
