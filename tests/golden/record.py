"""Golden numbers: what a small run of each strategy gives, recorded on purpose.

``make golden`` (or ``python tests/golden/record.py [NAME...]``) runs the strategies and writes
``tests/golden/NAME.json``, and all defaults to ``defaults.yaml``; it says what changed.
`tests/test_golden.py` compares.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from fedkd.clients.attacks import Attack
from fedkd.clients.oracles import Oracle
from fedkd.clients.privacy.base import Mechanism
from fedkd.clients.samplers import Sampler

import fedkd
from fedkd.codecs import Codec
from fedkd.distillation import Objective
from fedkd.distillation.guards import Guard
from fedkd.engine.fleet import Fleet
from fedkd.plugins import available, parameters, resolve
from fedkd.rounds.protocol import Strategy

HERE = Path(__file__).parent
DEFAULTS = HERE / "defaults.yaml"

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "data.alpha": 1.0,
    "data.samples_per_client": 40,
    "transfer.size": 300,
    "fit.epochs": 3,
    "clients": 8,
    "rounds": 3,
    "fraction": 0.75,
    "evaluate.every": 3,
    "engine": "inline",
    "seed": 0,
}
MIXED = ["mlp", "lenet5"]
ROOMS: dict[str, type] = {
    "strategies": Strategy,
    "distillation": Objective,
    "distillation.guards": Guard,
    "codecs": Codec,
    "clients.attacks": Attack,
    "clients.oracles": Oracle,
    "clients.privacy": Mechanism,
    "clients.samplers": Sampler,
}

POINTS = 0.02
"""How far an accuracy may be off: another CPU rounds differently, and training amplifies it."""

MASKED = 0.05
"""By what share bytes may be off where what is sent depends on computed values."""


@contextmanager
def watched() -> Iterator[set[tuple[Any, ...]]]:
    """Watch what clients are sent to learn from: yields (places, shape, digest) of each lesson."""
    seen: set[tuple[Any, ...]] = set()
    send = Fleet.stream

    def stream(
        self: Fleet, action: str, contents: Mapping[int, Any], round_: int, *more: Any
    ) -> Any:
        for records in contents.values() if action == "train.distil" else ():
            if "teacher" in records:
                arrays = records["teacher"]
                places = arrays["mask"].data if "mask" in arrays else b""
                digest = hashlib.sha256(arrays["values"].data).hexdigest()
                seen.add((round_, places, tuple(arrays["values"].shape), digest))
        return send(self, action, contents, round_, *more)

    with (
        mock.patch.object(Fleet, "stream", stream),
        mock.patch.dict(os.environ, FEDKD_REPORT="0"),  # it takes most of the time
    ):
        yield seen


def measured(name: str) -> tuple[dict[str, Any], Strategy, bool]:
    """Run a strategy.

    Returns
    -------
    numbers : dict
        What a golden file holds.
    strategy : Strategy
        As the run left it.
    personal : bool
        Whether clients were sent different lessons for the same rows.
    """
    cls = resolve(name, "strategies", Strategy)
    several = not cls.homogeneous and cls.usual_model == "mlp"  # type: ignore[attr-defined]
    model = MIXED if several else cls.usual_model  # type: ignore[attr-defined]
    more = {"model": model, "transfer.labelled": cls.needs_labels}  # type: ignore[attr-defined]
    strategy: Strategy = cls(**cls.brief)  # type: ignore[attr-defined]
    with watched() as lessons:
        summary = fedkd.simulate(strategy, **SETTINGS | more).summary
    numbers = {key: round(summary[key]["last"], 4) for key in ("alma_local", "alma_global")}
    numbers |= {key: summary[key] for key in ("bytes_up", "bytes_down", "rejected")}
    personal = len(lessons) > len({lesson[:3] for lesson in lessons})
    return numbers, strategy, personal


def differences(golden: Mapping[str, Any], found: Mapping[str, Any], slack: float) -> list[str]:
    """Return what differs by more than it may, as ``name: golden -> found``.

    Parameters
    ----------
    golden, found : mapping
        Numbers by name.
    slack : float
        Share by which bytes may differ.
    """
    allowed = {"alma_local": POINTS, "alma_global": POINTS}
    allowed |= {key: slack * golden.get(key, 0) for key in ("bytes_up", "bytes_down")}
    return [
        f"{key}: {golden.get(key)} -> {found.get(key)}"
        for key in sorted({*golden, *found})
        if key not in golden
        or key not in found
        or abs(golden[key] - found[key]) > allowed.get(key, 0) + 1e-9
    ]


def plain(value: Any) -> Any:
    """Return a default as it is, or in words."""
    return value if value is None or isinstance(value, int | float | str) else repr(value)


def defaults() -> dict[str, Any]:
    """Return the parameters' defaults of whatever has a name."""
    return {
        room: {
            name: {key: plain(value) for key, value in parameters(cls).items()}
            for name, cls in available(room, base).items()
        }
        for room, base in ROOMS.items()
    }


def read(name: str) -> dict[str, Any] | None:
    """Return a golden file's numbers, if there is one."""
    file = HERE / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def main() -> None:
    """Record, and say what changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="strategies; all by default")
    strategies = available("strategies", Strategy)
    for name in parser.parse_args().names or strategies:
        numbers, _, _ = measured(name)
        before = read(name)
        changed = differences(before, numbers, 0.0) if before else ["new"]
        (HERE / f"{name}.json").write_text(json.dumps(numbers, indent=2) + "\n")
        print(f"{name}: {', '.join(changed) or 'as it was'}", flush=True)
    DEFAULTS.write_text(yaml.safe_dump(defaults(), sort_keys=True))
    for file in HERE.glob("*.json"):
        if file.stem not in strategies:
            print(f"{file.name}: no such strategy, remove it")


if __name__ == "__main__":
    main()
