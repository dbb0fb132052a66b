"""The floor: the works as a plain sequential torch loop on one thread.

It is what a person would write down without any framework. The samples, the batches and the first
weights are those of fedkd (they come from the same random streams), so that a test can compare the
trained models number by number; there are no messages, no checks and no tables.
"""

from statistics import median
from typing import Any

import torch

from .loops import Averaging, Knowledge, Loop, Nothing
from .stopwatch import Stopwatch
from .training import private_loss
from .whole import Fusion
from .works import Job

LOOPS: dict[str, type[Loop]] = {
    "W1": Averaging,
    "W2": Averaging,
    "W3": Knowledge,
    "W0": Nothing,
    "W0x5": Nothing,
    "W4": Fusion,
    "W5": Fusion,
}


def run(job: Job) -> dict[str, Any]:
    """Run one round and then the steady ones, of whole runs also the last; see ``ours.run``."""
    torch.set_num_threads(1)
    loop = LOOPS[job.work](job)
    watch, copies = Stopwatch(job.sizes.rounds), []
    rounds = job.rounds if isinstance(loop, Fusion) else job.rounds - 1
    for number in range(1, rounds + 1):
        loop.round(number)
        if job.device != "cpu":
            torch.cuda.synchronize()
        watch.lap()
        if isinstance(loop, Nothing):
            copies.append(loop.seconds)
    if copies:
        return watch.told(phases={"fit": median(copies[1:])})
    told = watch.told(loss=private_loss(loop.models[0], *loop.private[0]))
    return told | ({"tested": loop.tested} if isinstance(loop, Fusion) else {})
