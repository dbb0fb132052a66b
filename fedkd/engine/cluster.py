"""Ray's life cycle: join the one that is there, or start one; what an actor may have of it."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from traceback import walk_tb
from typing import Any

from ..config import EngineConfig
from ..environment import set_defaults
from ..errors import ConfigError, RunError
from .ahead import Start
from .signals import go_on, held_signals
from .spare import LONGING, spared
from .warm import WARM, Surroundings

log = logging.getLogger("fedkd")

PASSING = {"PYTEST_CURRENT_TEST", "FEDKD_REPORT", LONGING[0]}
"""Environment variables that say what this process does, and nothing to an actor."""

TRIALS = 2
"""How often Ray is started before that counts as a failure."""


def cores() -> int:
    """Return the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def shared_ray(config: EngineConfig) -> Iterator[None]:
    """Have Ray up inside the ``with`` block.

    A Ray that is already initialised in this process is joined and left running. With
    ``engine.address`` a running cluster is joined, and left at the end; otherwise a local one is
    started, without dashboard, without usage statistics and with token authentication. That stays
    up for the next run, until `shutdown` or the end of the process.
    """
    set_defaults()
    import ray

    now = partial(surroundings, config)
    with WARM.use(now):
        if (error := WARM.arrive(now)) is not None:
            raise error
        if not ray.is_initialized():
            try:
                _start(config)
            except BaseException:
                ray.shutdown()
                raise
            WARM.started(now())  # as it is now: Ray sets variables, too
        yield


@contextmanager
def ray_ahead(config: EngineConfig) -> Iterator[None]:
    """Have a Ray on this machine start while the block goes on, for `shared_ray` inside of it.

    If the block fails before, Ray is there for the next run, or ends with the process.
    """
    if config.name == "inline" or config.address:
        yield
        return
    set_defaults()
    with held_signals():
        import ray
    now = partial(surroundings, config)
    with WARM.use(now):
        if not ray.is_initialized():
            WARM.begin(Start(partial(_start, config)), now())
        try:
            yield
        except KeyboardInterrupt:
            go_on()
            raise


def surroundings(config: EngineConfig) -> Surroundings:
    """Return what actors would be started in now."""
    known = {name: value for name, value in os.environ.items() if name not in PASSING}
    return Surroundings(config.address, (known, os.getcwd(), list(sys.path), cores()))


def _start(config: EngineConfig) -> None:
    """Have Ray up; try again if that fails, as it does where its own limits of time are too short.

    Raises
    ------
    ConfigError
        If there is no cluster to join.
    RunError
        If it fails again.
    """
    for trial in range(TRIALS):
        try:
            with held_signals():
                _init(config)
            return
        except ConfigError:
            raise
        except Exception as error:
            _take_down(error)
            cause = str(error).strip().partition("\n")[0] or type(error).__name__
            log.warning("Ray did not start (attempt %d of %d): %s", trial + 1, TRIALS, cause)
            if trial + 1 == TRIALS:
                remedy = "try again when the machine is less busy, or use engine=inline"
                raise RunError(
                    f"Ray did not start in {TRIALS} attempts; {remedy} ({cause})"
                ) from error


def _take_down(error: Exception) -> None:
    """End what Ray has started before it raised: only a frame of the traceback knows of it."""
    import ray
    from ray._private.node import Node

    ray.shutdown()
    for frame, _ in walk_tb(error.__traceback__):
        if isinstance(node := frame.f_locals.get("self"), Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


def _init(config: EngineConfig) -> None:
    import ray

    quiet: dict[str, Any] = {"configure_logging": True, "logging_level": "ERROR"}
    if not config.address:
        quiet |= {"include_dashboard": False, "log_to_driver": False}
        with spared():
            ray.init("local", num_cpus=cores(), **quiet)  # not one that happens to run here
        return
    try:
        ray.init(address=config.address, log_to_driver=False, **quiet)
    except (ConnectionError, ValueError) as error:
        problem = f"no Ray cluster to join there ({str(error).splitlines()[0]})"
        raise ConfigError("engine.address", config.address, problem) from error


def actor_count(config: EngineConfig) -> int:
    """Return the number of actors: as configured, else one per CPU core of the cluster."""
    import ray

    return config.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))


def actor_resources(config: EngineConfig) -> dict[str, float]:
    """Return what one actor asks Ray for.

    The actors share the CPUs evenly, so that every one of them can start. GPUs are only asked for
    where ``engine.gpus_per_actor`` says so.
    """
    total = _total("GPU")
    if (config.gpus_per_actor or 0) > total:
        problem = f"Ray sees {total:g} GPUs; set it to 0 to use CPUs"
        raise ConfigError("engine.gpus_per_actor", config.gpus_per_actor, problem)
    cpus = [node["Resources"].get("CPU", 0.0) for node in nodes()]
    share = even_share(cpus, actor_count(config))
    return {"num_cpus": share, "num_gpus": config.gpus_per_actor or 0}


def replacement_resources(wanted: dict[str, float], actors: int) -> dict[str, float]:
    """Return what the replacement of a dead actor asks Ray for.

    If its machine is gone, too, it squeezes in with the others: it must not wait for a place.

    Raises
    ------
    RunError
        If the GPUs that are left are too few.
    """
    import ray

    if wanted["num_gpus"] * actors > _total("GPU"):
        raise RunError(f"only {_total('GPU'):g} GPUs are left for {actors} actors; resume the run")
    free = ray.available_resources().get("CPU", 0.0)
    return wanted | {"num_cpus": wanted["num_cpus"] if free >= wanted["num_cpus"] else 0}


def even_share(cpus: Sequence[float], actors: int) -> float:
    """Return the most CPUs that each of some actors can have when none may straddle machines.

    Parameters
    ----------
    cpus : sequence of float
        CPUs of each machine.
    actors : int
        At least 1.

    Examples
    --------
    >>> even_share([2.0], 3), even_share([2.0, 2.0], 3), even_share([0.0, 8.0, 3.0], 3)
    (0.666, 1.0, 3.0)
    """
    # Ray counts in ten-thousandths of a CPU; rounding down keeps the sum within the total.
    parts = [round(1000 * own) for own in cpus]
    shares = {own // count for own in parts for count in range(1, actors + 1)} - {0}
    fits = (share for share in shares if sum(own // share for own in parts) >= actors)
    return max(fits, default=0) / 1000


def nodes() -> list[dict[str, Any]]:
    """Return what Ray knows of the machines that are up."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _total(kind: str) -> float:
    import ray

    return float(ray.cluster_resources().get(kind, 0.0))
