"""What `fedkd check` holds a privacy attack on recorded runs to."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..config.grammar import parse
from ..config.overrides import compose, merge
from ..errors import ConfigError
from ..plugins import parameters
from ..plugins.table import Seam
from ..rng import Globals, scoped
from .common import MADE
from .plugged import Plugged, brief, exchanging, tiny
from .promises import Broken, Promise, Skipped, expect

__all__ = ["SUITE", "subject"]


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Plugged:
    """Return an attack that is to be checked; those of `overrides` that it knows are its own."""
    cls = seam.resolve(target)
    known = parameters(cls)
    own = [text for text in overrides if text.partition("=")[0] in known]
    rest = [text for text in overrides if text not in own]
    node = brief(cls) | {"name": target, **{text.partition("=")[0]: _value(text) for text in own}}
    own_runs = {"rounds": 2, "data.samples_per_client": 40}
    settings = tiny(rest, own_runs) | {"record.knowledge": True}
    settings["transfer.labelled"] = True
    if not any(text.startswith("strategy") for text in rest):
        settings |= exchanging(seam, target, ("logits",) if cls.kinds is None else cls.kinds)
    return Plugged(seam, target, node, merge(compose(rest), **settings), **options)


def _value(text: str) -> Any:
    name, _, value = text.partition("=")
    return parse(f"strategy.{name}={value}").value()


@contextmanager
def recorded(subject: Plugged, **settings: Any) -> Iterator[Path]:
    """Make a run to attack."""
    with TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        subject.run(run_dir=str(run_dir), **settings)
        yield run_dir


def own(subject: Plugged) -> dict[str, Any]:
    """Return the attack's parameters."""
    return {key: value for key, value in subject.node.items() if key != "name"}


def attack(subject: Plugged, run_dir: Path) -> Any:
    """Attack a run, through the door of the room that the table names: it is above this one."""
    room = import_module(f"fedkd.{subject.seam.room}")
    return room.attack(run_dir, subject.name, trust=True, **own(subject))


def attacked(subject: Plugged, run_dir: Path) -> Any:
    """Attack a run, if it is one for this attack."""
    try:
        return attack(subject, run_dir)
    except ConfigError as error:
        raise Skipped(error.problem) from error


def finds(subject: Plugged) -> str:
    """Attack a run twice, with other global random numbers; see what has become of the run."""
    found = []
    with recorded(subject) as run_dir:
        before = _files(run_dir)
        for seed in (1, 2):
            with scoped(seed):
                outer = Globals.now()
                finding = attacked(subject, run_dir)
                expect(Globals.now().same(outer), "seeds or draws from a global generator")
            found.append({k: v for k, v in vars(finding).items() if k != "picture"})
        expect(_files(run_dir) == before, "changes the run that it attacks")
        written = [json.loads(path.read_text()) for path in (run_dir / "attacks").glob("*.json")]
    expect(
        repr(found[0]) == repr(found[1]), "finds something else the second time; use subject.seed()"
    )
    expect(found[0]["results"], "finds nothing: results is empty")
    expect(written and written[0]["access"], "does not say who the adversary is (access)")
    return ", ".join(found[0]["results"])[:120]


def declines(subject: Plugged) -> str:
    """Give it a run in which nothing was recorded."""
    with recorded(subject, **{"record.knowledge": False}) as run_dir:
        try:
            attack(subject, run_dir)
        except ConfigError as error:
            return error.problem
    raise Broken("attacks a run in which nothing was recorded")


def _files(run_dir: Path) -> dict[str, bytes]:
    """Return what a run directory holds, but for what attacks write."""
    paths = [path for path in sorted(run_dir.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(run_dir)): path for path in paths}
    kept = {
        n: p for n, p in names.items() if not n.startswith(("attacks/", ".")) and "lock" not in n
    }
    return {name: path.read_bytes() for name, path in kept.items()}


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("finds", "finds the same in a run each time, and leaves it as it is", finds),
    Promise("declines", "says what it lacks", declines),
)
"""The promises of a privacy attack."""
