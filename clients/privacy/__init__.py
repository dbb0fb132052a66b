"""Privacy mechanisms, one a file: what a client does before anything leaves it, and its cost.

Noise here protects what a client uploads for the method. What fedkd measures of a simulation beside
that (losses, accuracies, label histograms) is not protected: a deployment must not send it.
"""

from .base import Facts, Mechanism
from .protection import Protection

__all__ = ["Facts", "Mechanism", "Protection"]
