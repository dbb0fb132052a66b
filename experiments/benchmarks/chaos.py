"""Kill things at random and see whether anybody notices: ``make chaos``.

Each trial starts ``fedkd run`` with two Ray actors, waits for a random moment and kills, with
SIGKILL, either the driver (which is then resumed) or one of the actors. The digest must be that of
an undisturbed run in one process.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import psutil
import typer

SETTINGS = ["clients=20", "rounds=12", "checkpoint.every=2", "engine.actors=2"]
STRATEGIES = {
    "knfu": ["strategy=knfu", "model=[mlp,lenet5]"],
    "fedmd": ["strategy=fedmd", "fraction=0.5"],
    "fedadam": ["strategy=fedadam"],
}
TIMEOUT = 180


def main(
    trials: Annotated[int, typer.Option(help="How many kills.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the choice of moments and victims.")] = 0,
) -> None:
    """Kill drivers and actors at random moments; count the runs that end as if undisturbed."""
    chance = random.Random(seed)
    with TemporaryDirectory(prefix="fedkd-chaos-") as scratch:
        wanted = {name: undisturbed(name, Path(scratch)) for name in STRATEGIES}
        same = 0
        for trial in range(trials):
            name = chance.choice(sorted(STRATEGIES))
            victim = (kill_driver, kill_actor)[trial % 2]
            digest, moment = victim(name, Path(scratch) / str(trial), chance)
            same += digest == wanted[name]
            verdict = "same" if digest == wanted[name] else "DIFFERENT"
            typer.echo(f"{trial + 1:>3}  {name:<8} {victim.__name__:<12} {moment:<34} {verdict}")
    typer.echo(f"{same}/{trials} identical digests")
    raise typer.Exit(0 if same == trials else 1)


def undisturbed(name: str, scratch: Path) -> str:
    """Return the digest of the run in one process."""
    run_dir = scratch / name
    finish(start(name, run_dir, "engine=inline"))
    return digest_in(run_dir)


def kill_driver(name: str, run_dir: Path, chance: random.Random) -> tuple[str, str]:
    """Kill the driver, resume, and return the digest and the moment."""
    process = start(name, run_dir)
    moment = wait(process, run_dir, chance)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish(launch(f"resume={run_dir}"))
    return digest_in(run_dir), moment


def kill_actor(name: str, run_dir: Path, chance: random.Random) -> tuple[str, str]:
    """Kill one actor, let the run finish, and return the digest and the moment."""
    process = start(name, run_dir)
    moment = wait(process, run_dir, chance)
    actors = [p for p in psutil.Process(process.pid).children(recursive=True) if is_actor(p)]
    if actors:
        chance.choice(actors).kill()
    finish(process)
    restarts = json.loads((run_dir / "summary.json").read_text())["restarts"]
    return digest_in(run_dir), f"{moment}, {restarts} restarts"


def start(name: str, run_dir: Path, *more: str) -> "subprocess.Popen[str]":
    """Start a run."""
    return launch(*SETTINGS, *STRATEGIES[name], f"run_dir={run_dir}", *more)


def launch(*overrides: str) -> "subprocess.Popen[str]":
    """Start ``fedkd run`` in a process of its own."""
    command = [sys.executable, "-m", "fedkd", "run", *overrides]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait(process: "subprocess.Popen[str]", run_dir: Path, chance: random.Random) -> str:
    """Sleep until a random moment of the run; say which."""
    deadline = time.monotonic() + TIMEOUT
    rounds = run_dir / "rounds.parquet"
    # The tables appear with the first round; sometimes strike before that.
    early = chance.random() < 0.2
    while not (run_dir / "config.yaml" if early else rounds).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the run did not start: {finish(process)}")
        time.sleep(0.01)
    delay = chance.uniform(0, 4 if early else 1.5)
    time.sleep(delay)
    return f"{delay:.2f} s after the {'start' if early else 'first round'}"


def is_actor(process: psutil.Process) -> bool:
    """Say whether a process is one of fedkd's Ray actors."""
    try:
        return "ray::Actor" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a run to end well."""
    _, stderr = process.communicate(timeout=TIMEOUT)
    if process.returncode != 0:
        raise SystemExit(f"a run ended with {process.returncode}: {stderr[-500:]}")
    return stderr


def digest_in(run_dir: Path) -> str:
    """Return a finished run's digest."""
    return str(json.loads((run_dir / "summary.json").read_text())["digest"])


if __name__ == "__main__":
    typer.run(main)
