"""Import a user's object named ``FILE.py:Name`` or ``package.module:Name``."""

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..ending import is_interrupt
from ..errors import ConfigError

_DIGEST = "__fedkd_source_digest__"


def is_code(spec: object) -> bool:
    """Say whether `spec` is ``FILE.py:Name`` or ``package.module:Name``, and no short name."""
    return ":" in str(spec) or str(spec).endswith(".py")


def load_object(spec: str, key: str = "strategy") -> Any:
    """Import what `spec` names.

    Parameters
    ----------
    spec : str
        ``"FILE.py:Name"``, the path relative to the working directory, or
        ``"package.module:Name"``. **The file or module is executed.**
    key : str
        The configuration key that `spec` was given for, named in errors.

    Raises
    ------
    ConfigError
        If there is no such file or module, it does not import, or it has no such name.

    Examples
    --------
    >>> load_object("collections:OrderedDict").__name__
    'OrderedDict'
    >>> load_object("keyword:iskeywordd")
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: strategy=keyword:iskeywordd: keyword has no 'iskeywordd'
    """
    source, _, name = spec.rpartition(":")
    source = source or name
    is_file = source.endswith(".py") or "/" in source or "\\" in source
    module = _from_file(source, spec, key) if is_file else _from_package(source, spec, key)
    if source != name and hasattr(module, name):
        return getattr(module, name)
    choices = [f"{source}:{found}" for found in _own_names(module)]
    if source == name:
        raise ConfigError(key, spec, "name what to take from it, after a colon", choices)
    raise ConfigError(key, spec, f"{source} has no {name!r}", choices)


def by_value(module: ModuleType) -> None:
    """Have Ray send the classes of `module` to its workers by value, not by import name.

    Workers cannot import a plug-in file: it is on no search path.
    """
    if importlib.util.find_spec("ray") is not None:
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(module)


def _own_names(module: ModuleType) -> Iterator[str]:
    """Yield the public classes and functions that `module` itself defines."""
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == module.__name__
        if is_own and callable(value) and not name.startswith("_"):
            yield name


class Anew(SourceFileLoader):
    """Compiles a file each time: Python takes what was compiled before by size and second alone."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the file's code."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _from_file(source: str, spec: str, key: str) -> ModuleType:
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(key, spec, f"there is no file {path}")
    # Two plug-ins called model.py must not be one module, and none may shadow a package.
    stem = re.sub(r"\W", "_", path.stem)
    name = f"fedkd_plugin_{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, _DIGEST, None) == digest:
        return loaded
    loader = Anew(name, str(path)) if path.suffix == ".py" else None
    importing = importlib.util.spec_from_file_location(name, path, loader=loader)
    if importing is None or importing.loader is None:
        raise ConfigError(key, spec, f"{path.name} is not a Python file (FILE.py:Class)")
    module = importlib.util.module_from_spec(importing)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up while it loads
    try:
        importing.loader.exec_module(module)
    except BaseException as error:  # sys.exit, too
        del sys.modules[name]
        if is_interrupt(error):
            raise
        raise ConfigError(key, spec, f"the file does not import: {_reason(error, path)}") from error
    setattr(module, _DIGEST, digest)
    by_value(module)
    return module


def _from_package(source: str, spec: str, key: str) -> ModuleType:
    if not all(part.isidentifier() for part in source.split(".")):
        raise ConfigError(key, spec, "is neither FILE.py:Name nor package.module:Name")
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if not _is_within(source, error):
            raise ConfigError(key, spec, f"does not import: {_reason(error)}") from error
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise ConfigError(key, spec, f"does not import: {_reason(error)}") from error
    return _from_working_directory(source, spec, key)


def _from_working_directory(source: str, spec: str, key: str) -> ModuleType:
    """Import a package that lies in the working directory, where `python -m` would find it."""
    here = str(Path.cwd())
    if here in sys.path:
        raise ConfigError(key, spec, f"there is no module {source}")
    sys.path.append(here)  # stays: the package may import parts of itself later
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(source)
    except BaseException as error:
        if is_interrupt(error):
            raise
        sys.path.remove(here)
        missing = isinstance(error, ModuleNotFoundError) and source.startswith(str(error.name))
        problem = (
            f"there is no module {source}" if missing else f"does not import: {_reason(error)}"
        )
        raise ConfigError(key, spec, problem) from error
    by_value(sys.modules[source.split(".", maxsplit=1)[0]])
    return module


def _is_within(source: str, error: BaseException) -> bool:
    """Say whether what was not found is `source` or a package around it, not an import in it."""
    return isinstance(error, ModuleNotFoundError) and f"{source}.".startswith(f"{error.name}.")


def _reason(error: BaseException, path: Path | None = None) -> str:
    """Return the error's type, its message's first line, and the line of `path` it came from."""
    message = (str(error).strip() or "no message").splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if path and Path(frame.filename) == path]
    if isinstance(error, SyntaxError):
        message, lines = error.msg, [error.lineno]
    where = f" (line {lines[-1]})" if lines and lines[-1] else ""
    return f"{type(error).__name__}: {message}{where}"
