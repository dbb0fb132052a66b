"""Which promises a family of plug-ins makes, in the order in which they are tested."""

from collections.abc import Iterator

import torch

from ...engine.host import single_thread
from ...protocol import Strategy
from .costs import scales
from .declares import constructs, exchanges
from .purity import deterministic, pure
from .runs import engines, hostile, resumes
from .subject import Subject
from .symmetry import absent, permutation, single
from .teachers import per_sample, shapes, values
from .verdict import Promise, Verdict

SUITES: dict[type, tuple[Promise, ...]] = {
    Strategy: (
        Promise("constructs", "can be made with its defaults", constructs, vital=True),
        Promise(
            "exchange", "says what it exchanges, and a run can be prepared", exchanges, vital=True
        ),
        Promise("shapes", "returns teachers of the right shape", shapes),
        Promise("values", "returns teachers that a client can learn from", values),
        Promise("permutation", "treats all clients alike", permutation),
        Promise("single", "can do with a single client", single),
        Promise("absent", "can do with clients that come and go", absent),
        Promise("hostile", "keeps NaN out and goes on", hostile),
        Promise("deterministic", "uses no global random numbers", deterministic),
        Promise("pure", "fuses without side effects", pure),
        Promise("per_sample", "treats samples one by one if it says so", per_sample),
        Promise("resumes", "can be interrupted and resumed", resumes),
        Promise("engines", "does not depend on the engine", engines),
        Promise("costs", "is quick enough", scales),
    )
}
"""The promises of each family, by its base class."""


def suite_of(kind: type) -> tuple[Promise, ...]:
    """Return the promises that a class makes."""
    return next(suite for base, suite in SUITES.items() if issubclass(kind, base))


def checked(subject: Subject, suite: tuple[Promise, ...]) -> Iterator[Verdict]:
    """Test one promise after the other; without a vital one, the rest is not tested."""
    threads, missing = torch.get_num_threads(), ""
    single_thread()  # as in a run
    try:
        for promise in suite:
            if missing:
                yield Verdict(promise, None, f"not tested, see {missing}")
                continue
            verdict = promise.judge(subject)
            if promise.vital and not verdict.held:
                missing = promise.name
            yield verdict
    finally:
        torch.set_num_threads(threads)
