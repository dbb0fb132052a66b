"""Which promises a strategy makes, in the order in which they are tested."""

from ..common import engines
from ..promises import Promise
from .attendance import newcomers
from .costs import scales
from .declares import constructs, exchanges
from .parameters import effective
from .purity import deterministic, pure
from .runs import hostile, resumes
from .symmetry import absent, permutation, single
from .teachers import per_sample, shapes, values

SUITE: tuple[Promise, ...] = (
    Promise("constructs", "can be made with its defaults", constructs, vital=True),
    Promise("exchange", "says what it exchanges, and a run can be prepared", exchanges, vital=True),
    Promise("shapes", "returns teachers of the right shape", shapes),
    Promise("values", "returns teachers that a client can learn from", values),
    Promise("permutation", "treats all clients alike", permutation),
    Promise("single", "can do with a single client", single),
    Promise("absent", "can do with clients that come and go", absent),
    Promise("newcomers", "brings whoever comes up to date, and nobody else", newcomers),
    Promise("hostile", "keeps NaN out and goes on", hostile),
    Promise("deterministic", "uses no global random numbers", deterministic),
    Promise("pure", "fuses without side effects", pure),
    Promise("per_sample", "treats samples one by one if it says so", per_sample),
    Promise("resumes", "can be interrupted and resumed", resumes),
    Promise("parameters", "has no parameter without effect", effective),
    Promise("engines", "does not depend on the engine", engines),
    Promise("costs", "is quick enough", scales),
)
"""The promises of a strategy."""
