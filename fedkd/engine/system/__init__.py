"""The clients' devices, and a virtual clock that says how long rounds would take on them."""

from .clock import VirtualClock
from .devices import Device, devices

__all__ = ["Device", "VirtualClock", "devices"]
