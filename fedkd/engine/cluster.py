"""Ray's life cycle: join the one that is there, or start one and take it down again."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..config import EngineConfig
from ..environment import set_defaults
from ..errors import ConfigError


def cores() -> int:
    """Return the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def shared_ray(config: EngineConfig) -> Iterator[None]:
    """Have Ray up inside the ``with`` block.

    A Ray that is already initialised in this process is joined and left running. With
    ``engine.address`` a running cluster is joined; otherwise a local one is started, without
    dashboard, without usage statistics and with token authentication, and shut down at the end.
    """
    set_defaults()
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"configure_logging": True, "logging_level": "ERROR"}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if config.address:
            ray.init(address=config.address, log_to_driver=False, **quiet)
        else:
            ray.init(
                num_cpus=max(cores(), 1), include_dashboard=False, log_to_driver=False, **quiet
            )
    except (ConnectionError, ValueError) as error:
        problem = f"no Ray cluster to join there ({str(error).splitlines()[0]})"
        raise ConfigError("engine.address", config.address, problem) from error
    _restore_sigterm(handler)
    try:
        yield
    finally:
        ray.shutdown()


def _restore_sigterm(handler: Any) -> None:
    """Put back the handler that ``ray.init`` replaced, if the program had one of its own."""
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def actor_count(config: EngineConfig) -> int:
    """Return the number of actors: as configured, else one per CPU core of the cluster."""
    import ray

    return config.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))


def actor_resources(config: EngineConfig) -> dict[str, float]:
    """Return what one actor asks Ray for.

    The actors share all CPUs evenly, so that every one of them can start. GPUs are only asked for
    where ``engine.gpus_per_actor`` says so.
    """
    import ray

    total = ray.cluster_resources()
    if (config.gpus_per_actor or 0) > total.get("GPU", 0):
        problem = f"Ray sees {total.get('GPU', 0):g} GPUs; set it to 0 to use CPUs"
        raise ConfigError("engine.gpus_per_actor", config.gpus_per_actor, problem)
    # Ray counts in ten-thousandths of a CPU; rounding down keeps the sum within the total.
    share = int(total.get("CPU", 1) / actor_count(config) * 1000) / 1000
    return {"num_cpus": share, "num_gpus": config.gpus_per_actor or 0}
