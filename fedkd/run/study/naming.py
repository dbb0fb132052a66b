"""Which study a command means: ``-m`` and overrides, a study file, or the folder of one."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from ...config.definition import FILE, Definition
from ...config.grammar import parse, split_study, sweep
from ...config.overrides import compose
from ...config.trust import vet
from ...errors import ConfigError


def named(given: Sequence[str], multirun: bool) -> tuple[Definition, Path] | None:
    """Return a study and its folder; None if a command means a single run.

    Raises
    ------
    ConfigError
        If there is no such file, it is no study, or it is somebody else's and names code.
    """
    files = [word for word in given if word.endswith((".yaml", ".yml")) and "=" not in word]
    words = {word: parse(word) for word in given if word not in files}
    folders = [path for path in map(Path, values_of(words, "resume")) if (path / FILE).is_file()]
    if not (multirun or files or folders):
        return None
    if len(files) + len(folders) > 1:
        raise ConfigError("study", [*files, *folders], "give one study at a time")
    if folders:
        others = [place for place in values_of(words, "run_dir") if Path(place) != folders[0]]
        if others:
            problem = f"{folders[0]} is to go on, where it is; leave it out"
            raise ConfigError("run_dir", others[0], problem)
        more = _without(words, "run_dir", "resume", "trust")
        return kept(folders[0], "trust=true" in words).extended(more), folders[0]
    study, stem = Definition(), f"{time.strftime('%Y%m%d-%H%M%S')}-sweep"
    if files:
        file = Path(files[0]).expanduser()
        study, stem = Definition.read(file), file.stem
    places = values_of({text: parse(text) for text in [*study.overrides, *words]}, "run_dir")
    folder = Path(places[-1]) if places else Path("runs", stem)
    return study.extended(_without(words, "run_dir")), folder


def kept(folder: Path, trusted: bool) -> Definition:
    """Return the definition that is in a study's folder, if the user may run what it names.

    Raises
    ------
    ConfigError
        If there is none, or it is somebody else's and names code.
    """
    study = Definition.read(folder / FILE, "resume")
    runs = [compose(one).to_dict() for one in sweep(split_study(study.overrides)[1])]
    vet(folder, runs, "resume", trusted=trusted, names=[FILE])
    return study


def values_of(words: Mapping[str, Override], key: str) -> list[str]:
    """Return what a key of one value is given as, with the user's folder in place of ``~``."""
    given = [one for one in words.values() if one.key_or_group == key]
    values = [one.value() for one in given if not one.is_sweep_override()]
    if "" in values:  # as a path, it is the current folder
        raise ConfigError(key, "", "is empty; give the path of a folder")
    return [str(Path(str(value)).expanduser()) for value in values if value is not None]


def _without(words: Mapping[str, Override], *keys: str) -> list[str]:
    return [word for word, parsed in words.items() if parsed.key_or_group not in keys]
