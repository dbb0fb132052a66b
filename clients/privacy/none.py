"""No privacy mechanism: knowledge is uploaded as it is."""

from .base import Mechanism


class NONE(Mechanism):
    """Protects nothing; parameters of other mechanisms have no effect."""

    kinds = None
