"""Free rider: hostile clients enjoy the teacher without ever training for it.

Formula (ours; there is no single source): no private training, and in place of knowledge ::

    F(x) = 1 / C            reply=uniform (logits: 0)
    F(x) = last teacher     reply=teacher; the untrained model's prediction before there is one

They do learn from their teachers: that is what they are here for.
"""

from typing import Any, Literal

from torch import Tensor

from ...knowledge import kind_named
from .base import Attack, View


class FreeRider(Attack):
    """Skips private training and replies with what costs nothing.

    Parameters
    ----------
    reply : {"uniform", "teacher"}
        All classes equally likely, or the last teacher sent back.
    **base
        See `Attack`.
    """

    def __init__(self, reply: Literal["uniform", "teacher"] = "uniform", **base: Any) -> None:
        super().__init__(**base)
        self.reply = reply

    def options(self) -> dict[str, Any]:
        """Ask for no private training."""
        return {"skip-fit": True}

    def poison(self, view: View) -> Tensor:
        """Return uniform knowledge, or the last teacher."""
        if self.reply == "teacher":
            return view.teacher
        return kind_named(view.kind).blank(view.own.shape)
