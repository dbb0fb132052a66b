"""CPU seconds and memory against the number of clients.

``python -m fedkd.experiments.benchmarks.clients --clients 100 --clients 1000``
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from ...callbacks import Callback, RoundRecord
from ...run.python import simulate
from .facts import machine
from .gauge import actor_processes

SAMPLES, TRANSFER = 60, 200
"""Private samples of each client, and transfer samples."""

LOOK_SECONDS = 1.0
"""Pause between two looks at the memory."""


class Work(Callback):
    """Notes the CPU seconds of this process and its actors, and the time, after each round."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def on_round(self, record: RoundRecord) -> None:
        """Note both."""
        times = [one.cpu_times() for one in (psutil.Process(), *actor_processes())]
        self.cpu.append(sum(one.user + one.system for one in times))
        self.wall.append(time.monotonic())


def run(clients: int, rounds: int, memory: str | None, result: Path) -> None:
    """Run W3 (local epoch, shared predictions, mean, distillation) on random images."""
    rng, work = np.random.default_rng(0), Work()
    count = clients * SAMPLES + TRANSFER
    x = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    y = np.arange(count) % 10
    settings: dict[str, Any] = {
        "data.alpha": None,
        "data.samples_per_client": SAMPLES,
        "transfer.size": TRANSFER,
        "evaluate.every": rounds,
        "fit": {"epochs": 1, "batch_size": 32, "momentum": 0.0},
        "distil": {"epochs": 1, "batch_size": 64},
        "device": "cpu",
    }
    done = simulate(
        {"name": "fedmd", "exchange": "soft_labels"},
        (x, y, x[:100], y[:100]),
        clients=clients,
        rounds=rounds,
        engine={"name": "ray", "state_memory": memory},
        callbacks=[work],
        **settings,
    )
    steady = range(1, rounds - 1)  # the first round opens data, the last is evaluated
    took = {
        name: [values[i] - values[i - 1] for i in steady]
        for name, values in (("cpu_seconds", work.cpu), ("wall_seconds", work.wall))
    }
    result.write_text(json.dumps(took | {"digest": done.summary["digest"]}))


def watch(process: subprocess.Popen[bytes]) -> float:
    """Wait until a process has ended; return the peak PSS of it and all below it, in bytes."""
    peak = 0.0
    while process.poll() is None:
        held = 0
        for one in (root := psutil.Process(process.pid)), *root.children(recursive=True):
            try:
                info = one.memory_full_info()
                held += getattr(info, "pss", info.uss)  # only Linux has it
            except psutil.Error:
                continue
        peak = max(peak, held)
        time.sleep(LOOK_SECONDS)
    return peak


def measure(clients: int, rounds: int, memory: str | None) -> dict[str, Any]:
    """Measure in a fresh process."""
    with TemporaryDirectory(prefix="fedkd-bench-") as folder:
        result = Path(folder) / "result.json"
        given = f"run({clients}, {rounds}, {memory!r}, Path({str(result)!r}))"
        code = f"from pathlib import Path; from {__spec__.name} import run; {given}"
        process = subprocess.Popen([sys.executable, "-c", code])
        peak = watch(process)
        if process.returncode:
            raise SystemExit(f"{clients} clients: exit code {process.returncode}")
        told = json.loads(result.read_text())
    each = 1000 * median(told["cpu_seconds"]) / clients
    return {
        "clients": clients,
        "rounds": rounds,
        "state_memory": memory,
        "cpu_ms_per_client": each,
        "peak_pss_gb": peak / 1e9,
        **told,
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw both against the number of clients."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    titles = {"cpu_ms_per_client": "CPU ms a client and round", "peak_pss_gb": "peak PSS, GB"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        axes.plot([one["clients"] for one in found], [one[name] for one in found], "o-")
        axes.set(xscale="log", xlabel="clients", title=title, ylim=(0, None))
    figure.savefig(path)


def main(
    clients: Annotated[list[int] | None, typer.Option(help="how many; may be repeated")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="rounds of each run")] = 4,
    state_memory: Annotated[str | None, typer.Option(help="engine.state_memory")] = None,
    out: Annotated[Path, typer.Option(help="where to write")] = Path("build/clients.json"),
) -> None:
    """Measure time and memory against the number of clients."""
    found = []
    for count in clients or [100, 1_000, 10_000]:
        found.append(measure(count, rounds, state_memory))
        typer.echo(json.dumps(found[-1]))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine(), "runs": found}, indent=2) + "\n")
    draw(found, out.with_suffix(".svg"))


if __name__ == "__main__":
    typer.run(main)
