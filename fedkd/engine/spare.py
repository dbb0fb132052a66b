"""What Ray starts for people who look at a cluster, and no run of fedkd's on one machine needs."""

from collections.abc import Iterator
from contextlib import contextmanager

SPARED = ("start_monitor", "start_api_server", "start_log_monitor")
"""Methods of Ray's ``Node``: the autoscaler's monitor, the dashboard's server, which runs without a
dashboard, too, and what carries logs to the driver (not documented; checked on ray 2.55.1)."""


@contextmanager
def spared() -> Iterator[None]:
    """Have a Ray that is started inside do without three processes, a third of its CPU seconds."""
    from ray._private.node import Node

    own = {name: getattr(Node, name) for name in SPARED if hasattr(Node, name)}
    for name in own:
        setattr(Node, name, lambda self, **options: None)
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(Node, name, method)
