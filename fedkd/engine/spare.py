"""What Ray does for people who look at a cluster, and no run of fedkd's on one machine needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SPARED = ("start_monitor", "start_api_server", "start_log_monitor")
"""Methods of Ray's ``Node``: the autoscaler's monitor, the dashboard's server, which runs without a
dashboard, too, and what carries logs to the driver (not documented; checked on ray 2.55.1)."""

LONGING = "RAY_gcs_rpc_server_reconnect_timeout_s", "20"
"""How many seconds Ray's processes look for a head that has been killed: a minute by default, for
clusters where it comes back (not documented; checked on ray 2.55.1)."""


@contextmanager
def spared() -> Iterator[None]:
    """Have a Ray that is started inside do without three processes, a third of its CPU seconds.

    Where its driver is killed, the others end after seconds.
    """
    from ray._private.node import Node

    variable, seconds = LONGING
    users = variable in os.environ
    os.environ.setdefault(variable, seconds)
    own = {name: getattr(Node, name) for name in SPARED if hasattr(Node, name)}
    for name in own:
        setattr(Node, name, lambda self, **options: None)
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(Node, name, method)
        if not users:
            del os.environ[variable]
