"""Bodies below a head that nobody trains: FedBABU."""

from contextlib import AbstractContextManager

from ...models.parts import still
from .body import Body
from .phase import Phase


class FrozenHead(Body):
    """Uploads what is below the head, which keeps the values that all start from.

    Parameters
    ----------
    **base
        See `Body`.
    """

    from_model = True  # nothing is trained but by the loop

    def fitting(self, phase: Phase) -> AbstractContextManager[None]:
        """Keep the head as it is."""
        return still(phase.client.model, self.above(phase.client.model))
