"""What the page of KAFAL's curves says in words, and the published curve."""

from .claims import Claim

CLAIM = Claim(
    name="kafal_curves",
    title="KAFAL's curve",
    claimed="In federated active learning with skewed labels, asking for the samples about which "
    "local and global model disagree (KSAS) gives a better model from as many labels than random "
    "and other sampling, and training with balanced softmax and compensation (KCFU) a better one "
    "than plain federated averaging.",
    source="Cao et al., ICCV 2023, arXiv 2211.13579: the abstract, the official code; its curve is "
    "from a third party's notebook",
    confidence="certain for formulas and protocol (official code), secondary for the curve, which "
    "is not checked against the paper; what KSAS and KCFU bring alone is not publicly "
    "confirmed. Data and network are smaller here, so no number can be reproduced, only an "
    "ordering",
    published={},
    differences=(
        "MNIST and Fashion-MNIST: 10 clients of 600 samples, each with a Dirichlet(0.1) mix of its "
        "own, 20 labels and 20 more in each of 4 further cycles, 10 rounds a cycle of 5 local "
        "epochs (published: 50 rounds of 40), MLP 784-200-10, batches of 32, SGD 0.05 with "
        "momentum 0.9, all clients in every round.",
        "CIFAR-10: shares of labels from 10 to 25 % (published: to 35), 10 clients of 1,000 "
        "samples (published: 5,000), LeNet-5 in place of a ResNet-8 with batch normalisation, "
        "5 rounds a cycle of 5 local epochs, a constant learning rate of 0.05 without a milestone, "
        "all clients in every round; before the last cycle 2,000 of the 10,000 test pictures.",
        "The official code's KSAS is NaN in today's PyTorch for every client that lacks labels of "
        "a class, and so picks at random; here it is what was meant (`clients/samplers/ksas.py`). "
        "Samples are mixed with a partner each, compensation draws on today's unlabelled samples.",
        "Entropy and margin look at the global model. `discrepancy` is KSAS without its prior.",
    ),
)

PUBLISHED = {
    "random": (50.60, 54.29, 59.76, 62.85, 65.16, 66.52),
    "coreset": (50.60, 58.98, 67.48, 68.85, 69.04, 71.05),
    "entropy": (50.60, 58.45, 65.76, 68.61, 69.59, 71.68),
    "margin": (50.60, 58.19, 63.50, 66.75, 68.66, 71.13),
    "badge": (50.60, 57.46, 63.57, 67.39, 70.42, 71.67),
    "ksas": (50.60, 60.88, 67.47, 70.82, 72.94, 74.60),
}
"""Accuracy on CIFAR-10, in per cent, of samplers that are here, too."""

SHARES = (10, 15, 20, 25, 30, 35)
"""Share of the samples that are labelled, in per cent."""

CURVES = """## Curves

Accuracy of the server's model on the whole test split, in %, after each cycle: mean and deviation
over seeds, each of which has a partition of its own. `kcfu` is the published local update, `plain`
is cross entropy, and both are averaged as FedAvg does. Under one update all samplers start from the
same labels, hence from the same accuracy. The figure has the seeds that all its curves have.

![Accuracy against labels](../experiments/figures/kafal_curves.png)
"""

SAMPLING = """## KSAS beside the others

By how many points KSAS is above another sampler, with the same update and the same seeds: mean
difference and half of Student's 95 % interval over seeds.
"""

HALVES = """## KCFU and its halves

By how many points an update is above `plain` after each cycle, with the same sampler and seeds.
`balanced` is KCFU without compensation, `compensation` KCFU without balanced softmax.
"""

CAUSES = """## Why balanced softmax falls behind

In the [guide](guides/active.md) balanced softmax costs accuracy at this scale. Here one thing at a
time is changed, on MNIST with random sampling, so that all updates train on the same labels; means
over the first {cycles} cycles. *Lacking* is how many of the ten classes a client has no label of at
first. *Moves* is how far the change moves `balanced` up against `plain`, seed by seed. If a cause
is one, less of it moves `balanced` up and more of it down; but where `plain` itself learns little,
there is little to fall behind by.
"""

SIDE = """## Beside the published curve

CIFAR-10, accuracy in % by share of labels. Published numbers are for orientation: they are from a
network, a number of samples and of steps that are far from ours. What can be compared is who is
above whom, and by how much.
"""

TAIL = """## How this was made

From [a row a run](rows/kafal_curves.csv), with the accuracy after each cycle. CPU seconds are those
of whole runs on one core of a two-core x86-64 machine, with other work beside it: {seconds}. This
goes on with what is missing and writes this page anew:

<!-- not run: takes an hour, and the data sets -->
```sh
python -m fedkd.experiments.reproduce.kafal_curves --quick
python -m fedkd.experiments.reproduce.kafal_curves --plan
python -m fedkd.experiments.reproduce.kafal_curves --jobs 2
python -m fedkd.experiments.reproduce.kafal_curves --data cifar10
python -m fedkd.experiments.reproduce.kafal_curves_page
```

The published protocol, for a GPU: `fedkd run experiment=kafal_cifar10 sampler=ksas`.
"""
