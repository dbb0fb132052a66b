"""How the runs of a sweep are run: no part of any run's configuration."""

from dataclasses import dataclass

from ..errors import ConfigError
from .checked import Checked


@dataclass
class StudyConfig(Checked):
    """What `fedkd run -m` does with its runs."""

    parallel: str = "off"
    """runs of a sweep at once, a process each: off, a number, or auto = small ones, one per core"""

    def check(self) -> None:
        """Raise `ConfigError` for a number of runs that no sweep could have.

        Examples
        --------
        >>> StudyConfig("many").check()
        Traceback (most recent call last):
            ...
        fedkd.errors.ConfigError: study.parallel=many: must be off, auto or a number of at least 1
        """
        given = self.parallel
        if given not in ("off", "auto") and not (given.isdecimal() and int(given) >= 1):
            problem = "must be off, auto or a number of at least 1"
            raise ConfigError("study.parallel", given, problem)
