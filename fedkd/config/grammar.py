"""Hydra's override grammar, with paths and ``FILE:Class`` quoted where Hydra cannot read them."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from ..errors import ConfigError
from .hints import default_text
from .schema import STUDY, check_key
from .study import StudyConfig

_PARSER = OverridesParser.create()
PATHS = ("data", "data.name", "transfer.data")
"""Keys whose value may be a file or a folder."""
LONGEST = 200
"""Characters of a folder's name: file systems take 255 bytes."""
MOST = 100_000
"""Runs of a sweep: more are a slip, and listing them all would take the memory."""


def parse(text: str) -> Override:
    """Return Hydra's reading of one override.

    Raises
    ------
    ConfigError
        If `text` is not ``KEY=VALUE``, its key does not exist, or its value cannot be read.

    Examples
    --------
    >>> parse("model=[~/my nets.py:Net,mlp]").value()
    ['~/my nets.py:Net', 'mlp']
    """
    match = re.fullmatch(r"\+{0,2}([^=~+]+)=(.*)|~([^=]+)", text.strip(), re.DOTALL)
    if match is None:
        raise ConfigError("override", text, "is not of the form KEY=VALUE")
    key, value, removed = match.groups()
    check_key(key or removed, "~" if removed else value)
    line = f"~{removed}" if removed else f"{key}={_readable(key, value)}"
    try:
        return _parse_rule(line)
    except HydraException as error:
        problem = "cannot be read; put quotes around special characters, as in KEY=\"'a, b'\""
        raise ConfigError(key or removed, value, problem) from error


def read_value(key: str, text: str) -> Any:
    """Return the value that `text` is, for a parameter that no configuration has.

    Raises
    ------
    ConfigError
        If it cannot be read.

    Examples
    --------
    >>> read_value("targets", "[0,3]"), read_value("access", "model"), read_value("lr", "0.1")
    ([0, 3], 'model', 0.1)
    """
    try:
        return _parse_rule(f"x={_readable(key, text)}").value()
    except HydraException as error:
        raise ConfigError(key, text, "cannot be read; see Hydra's override grammar") from error


def split_study(overrides: Iterable[str]) -> tuple[StudyConfig, list[str]]:
    """Return how a sweep is to be run, and the overrides that are about its runs.

    Raises
    ------
    ConfigError
        For a value that no sweep could have, or several of them.

    Examples
    --------
    >>> split_study(["seed=0,1", "study.parallel=auto"])
    (StudyConfig(parallel='auto'), ['seed=0,1'])
    """
    given, others = {}, []
    for text in overrides:
        parsed = parse(text)
        key = parsed.key_or_group
        if key not in STUDY:
            others.append(text)
            continue
        if parsed.is_sweep_override() or parsed.is_delete():
            value = "~" if parsed.is_delete() else raw_value(parsed)
            raise ConfigError(key, value, "a sweep has one value of it; give that")
        given[key.removeprefix("study.")] = default_text(parsed.value())
    study = StudyConfig(**given)
    study.check()
    return study, others


def sweep(overrides: Iterable[str]) -> list[list[str]]:
    """Return the overrides of every run that comma lists, ``range()`` and ``choice()`` span.

    Raises
    ------
    ConfigError
        If there is none, or more than `MOST`.

    Examples
    --------
    >>> sweep(["strategy=local,knfu", "seed=range(0,2)", "rounds=5"])[1]
    ['strategy=local', 'seed=1', 'rounds=5']
    """
    axes: list[list[str]] = []
    for text in overrides:
        parsed = parse(text)
        if not parsed.is_sweep_override():
            axes.append([text])
            continue
        try:
            values = list(islice(parsed.sweep_string_iterator(), MOST + 1))
        except HydraException as error:
            problem = "cannot be swept over; use a comma list, range() or choice()"
            raise ConfigError(parsed.key_or_group, raw_value(parsed), problem) from error
        axes.append([f"{parsed.key_or_group}={value}" for value in values])
        if not 0 < prod(map(len, axes)) <= MOST:
            problem = f"spans more than {MOST} runs" if values else "has no value: no run at all"
            raise ConfigError(parsed.key_or_group, raw_value(parsed), f"{problem}; give others")
    return [list(run) for run in product(*axes)]


def sweep_names(runs: list[list[str]]) -> list[str]:
    """Return a folder name for every run of a sweep, of the overrides in which the runs differ.

    Examples
    --------
    >>> sweep_names(sweep(["strategy=./my.py:Median,knfu", "data.alpha=0.1", "seed=0,1"]))[:2]
    ['strategy-Median_seed-0', 'strategy-Median_seed-1']
    """
    varying = [column for column in zip(*runs, strict=True) if len(set(column)) > 1]
    parts = [[_file_name(one) for one in run] for run in zip(*varying, strict=True)]
    names = ["_".join(run)[:LONGEST] for run in parts] or ["run"]
    times = Counter(names)
    return [f"{name}_{i}" if times[name] > 1 else name for i, name in enumerate(names)]


def raw_value(override: Override) -> str:
    """Return the value of an override as it was written."""
    return override.get_value_string() if override.input_line else ""


def _parse_rule(line: str) -> Override:
    parsed = _PARSER.parse_rule(line, "override")
    assert isinstance(parsed, Override)
    return parsed


def _readable(key: str, value: str) -> str:
    """Return `value` as it is if Hydra can read it, else quoted, item by item in a list."""
    value = value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    is_path = key in PATHS and _is_path(value)
    if value and not is_quoted and (is_path or (key == "run_dir" and value != "null")):
        return _quoted(value)
    if _is_readable(value):
        return value
    parts = _parts(value)
    if len(parts) > 1:
        return ",".join(_readable(key, item) for item in parts)
    if (value[:1], value[-1:]) in (("[", "]"), ("{", "}")):
        inner = map(_readable_pair if value[0] == "{" else _readable_item, _parts(value[1:-1]))
        return f"{value[0]}{','.join(inner)}{value[-1]}"
    if value.startswith(("[", "{", "'", '"')) or re.match(r"\w+\(", value):
        return value  # meant as Hydra's grammar: let it say what is wrong
    return _quoted(value)


def _is_path(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, a home of nobody
        return False


def _readable_item(value: str) -> str:
    return _readable("", value)


def _readable_pair(text: str) -> str:
    key, colon, value = text.partition(":")
    return f"{key}{colon}{_readable_item(value)}"


def _parts(value: str) -> list[str]:
    """Return what commas part, but for those in brackets or quotes.

    Examples
    --------
    >>> _parts("{name: ./a.py:A, width: 3},'b, c'")
    ['{name: ./a.py:A, width: 3}', "'b, c'"]
    """
    parts, depth, quote = [""], 0, ""
    for char in value:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        depth += (char in "[{(") - (char in "]})") if not quote else 0
        if char == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _is_readable(value: str) -> bool:
    try:
        _parse_rule(f"x={value}")
    except HydraException:
        return False
    return True


def _quoted(value: str) -> str:
    return QuotedString(value, Quote.single).with_quotes()


def _file_name(override: str) -> str:
    """Return ``strategy-knfu`` for ``strategy=knfu``, in characters safe in any file name."""
    key, _, value = override.replace("\\", "").partition("=")
    value = re.sub(r"[^,:'\"\[{]*\.py:", "", value)
    value = value.strip("[]{}'\"./~")
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{key}-{value}")
