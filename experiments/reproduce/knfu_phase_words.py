"""What the page of KnFu's phase diagram says in words."""

from .claims import Claim

CLAIM = Claim(
    name="knfu_phase",
    title="KnFu's conclusion as a phase diagram",
    claimed="Fusing the knowledge of semantically close neighbours serves clients better than "
    "plain averaging (FedMD) under label skew, and fusion gains more the less clients differ; with "
    "large and highly heterogeneous local data, training alone can beat it.",
    source="Seyedmohammadi et al., arXiv 2403.11892: the abstract, and summaries of the paper",
    confidence="certain that local training can win (the abstract); secondary for the rest. No "
    "public code and no checked table: sizes, network and rounds are ours, so no number can be "
    "reproduced, only an ordering",
    published={},
    differences=(
        "10 clients, each with a Dirichlet mix of its own and as many samples as the others; 500 "
        "transfer samples; MLP 784-200-10 on MNIST, LeNet-5 on CIFAR-10; 10 rounds of 2 local "
        "epochs and 1 epoch of distillation.",
        "KnFu's equations are in part a reconstruction (`strategies/knfu.py`): the scans show what "
        "each of its open parameters would change.",
        "KnFu and FedMD are compared with the same thing exchanged: soft labels (KnFu's published "
        "form) and logits (FedMD's).",
        "`knfu, logits` (beta 1) and `knfu, auto` (`strategy.beta=auto`, logits, a tenth of the "
        "samples held out of training to choose by) are ours.",
    ),
)

MAP = """## Who wins

Highest mean accuracy over the seeds; in brackets whom that cannot be told from by Student's paired
95 % interval over the seeds, *undecided* if there are fewer than three seeds. *Local* is on the
client's own label distribution, *global* on all classes ([what the numbers mean](numbers.md)).

![Who wins, by local data size and skew](../experiments/figures/knfu_phase.png)
"""

MINUS = """By how many points KnFu is above FedMD where both exchange the same: mean difference
and half of its 95 % interval over seeds.
"""

LIKE = f"## Like with like\n\n{MINUS}"

GAIN = """## Who gains

Share of clients, in %, that end better than they would alone (same client, same seed, same
samples), on their own distribution / on all classes.
"""

CHOICE = """## beta chosen by each client

`strategy.beta=auto` over logits beside the better of staying alone and FedMD, local accuracy.
{said}
The held-out samples are paid for, as the others train on all: {price}
A client chooses by its own samples, so it is local accuracy that it looks after.
"""

SCANS = """## One thing at a time

At {samples} samples a client and Dirichlet({alpha:g}); local / global accuracy in %, mean and
deviation over seeds.
"""

ELSEWHERE = """## The same on CIFAR-10

LeNet-5; on all classes 10 % is chance. Again the highest mean, in brackets whom it cannot be told
from; a dash is what was not run.
"""

STEPS_THERE = """With smaller steps on the teacher (`distil.lr`) than the default, where run:
local / global accuracy in %, mean over seeds.
"""

TAIL = """## How this was made

From [a row a run](rows/knfu_phase.csv), with each client's own accuracies. CPU seconds are those of
whole runs on one core of a two-core x86-64 machine, with other work beside it: {seconds}. This goes
on with what is missing, in pieces if wanted, and writes this page anew:

<!-- not run: takes hours, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.knfu_phase --plan
python -m fedkd.experiments.reproduce.knfu_phase --quick
python -m fedkd.experiments.reproduce.knfu_phase --part 1/4
python -m fedkd.experiments.reproduce.knfu_phase --data cifar10
python -m fedkd.experiments.reproduce.knfu_phase_page
```
"""
