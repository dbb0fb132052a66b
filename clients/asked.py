"""Whether a loop asks for what a method sets for a fit."""

from typing import Any

from .base import Client, ClientLoop

ADDED = ("extra_loss", "log_prior", "carried", "schedule", "epochs", "clip")
"""What a method may set: without it, another method is trained."""


class Attentive(Client):
    """A client that notes what it is asked for."""

    def __getattribute__(self, name: str) -> Any:
        if name in (*ADDED, "options"):
            vars(self).setdefault("asked", set()).add(name)
        return super().__getattribute__(name)


def fitted(loop: ClientLoop, client: Client) -> dict[str, float]:
    """Fit a client; return the loop's numbers.

    Raises
    ------
    RuntimeError
        If the loop has not asked for what is set: what it trained is another method.
    """
    wanted = {name for name in ADDED if getattr(client, name) is not None}
    wanted |= {"options"} if client.options.get("proximal-mu") else set()
    if not client.settings(loop.fit_config)["epochs"]:
        wanted &= {"epochs"}
    cls, client.__class__ = type(client), Attentive
    try:
        numbers = loop.fit([client])[0]
    finally:
        client.__class__ = cls
        asked = vars(client).pop("asked", set())
    if len(client.y) and (unasked := sorted(wanted - asked)):
        problem = f"trains without what the method sets (Client.{unasked[0]})"
        raise RuntimeError(f"client: {type(loop).__name__} {problem}")
    return numbers
