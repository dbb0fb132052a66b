"""Privacy mechanisms, one a file: what a client does before anything leaves it, and its cost.

Noise here protects what a client uploads for the method. What fedkd measures of a simulation beside
that (losses, accuracies, label histograms) is not protected. It travels in a record of its own that
no method sees; a deployed app does not send it where a mechanism has a guarantee.
"""

from .base import Facts, Mechanism
from .protection import Protection

__all__ = ["Facts", "Mechanism", "Protection"]
