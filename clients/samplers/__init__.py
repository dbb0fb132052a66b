"""Which samples a client asks labels for: one sampler of active learning a file.

A sampler sees one client's `Pool` and returns positions into it. It runs at the client: no scores,
features or positions are sent.
"""

from .base import Pool, Sampler, ScoreSampler, UncertaintySampler

__all__ = ["Pool", "Sampler", "ScoreSampler", "UncertaintySampler"]
