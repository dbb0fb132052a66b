"""Seconds per round where clients differ, or few of them take part, against one process.

``python -m fedkd.experiments.benchmarks.unequal`` needs ``FEDKD_DATA_DIR/mnist``.
"""

import json
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from ...run.python import simulate
from .facts import machine

CASES: dict[str, dict[str, Any]] = {
    "small and large models in turn": {"model": ["mlp", "resnet8"], "clients": 20},
    "a tenth of the clients a round": {"model": "lenet5", "clients": 100, "fraction": 0.1},
}
SETTINGS = {
    "data.samples_per_client": 300,
    "transfer.size": 500,
    "evaluate.every": 1000,
    "evaluate.samples": 500,
}
ENGINES = ("inline", "ray")


def measure(case: dict[str, Any], engine: str, rounds: int) -> tuple[float, str]:
    """Return the seconds of a steady round (all but the first two and the last), and the digest."""
    settings = SETTINGS | case | {"engine.name": engine, "rounds": rounds + 3}
    done = simulate("fedmd", "mnist", **settings)
    return median(done.rounds["seconds"].to_pylist()[2:-1]), done.summary["digest"]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="rounds that count")] = 8,
    out: Annotated[Path, typer.Option(help="where to write")] = Path("build/unequal.json"),
) -> None:
    """Measure seconds per round where clients differ, against one process."""
    found: dict[str, dict[str, float]] = {}
    for name, case in CASES.items():
        told = {engine: measure(case, engine, rounds) for engine in ENGINES}
        if len({digest for _, digest in told.values()}) > 1:
            raise SystemExit(f"{name}: the engines disagree")
        found[name] = {engine: seconds for engine, (seconds, _) in told.items()}
        each = ", ".join(f"{engine} {seconds:.2f} s" for engine, seconds in found[name].items())
        typer.echo(f"{name}: {each}, ratio {found[name]['ray'] / found[name]['inline']:.2f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine(), "seconds": found}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
