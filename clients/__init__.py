"""What runs at a client: the ClientApp and its training loops."""

from .app import client_app
from .base import Client, ClientLoop
from .parts import Parts

__all__ = ["Client", "ClientLoop", "Parts", "client_app"]
