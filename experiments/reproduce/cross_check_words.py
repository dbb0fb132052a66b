"""What the page of the cross-check says beside its numbers, and why codes differ."""

from .claims import Claim

AS_IS = "-"
"""In place of what was changed, of runs of public code as it is."""

HTFLLIB, SCARLET = "HtFLlib", "SCARLET's code"

CLAIM = Claim(
    name="cross_check",
    title="The same runs by public code",
    claimed="With equal settings fedkd and the public code of a method come to the same accuracy.",
    source="our own claim, put to HtFLlib, github.com/TsingZ0/HtFLlib (Zhang et al., KDD 2025, "
    "arXiv 2506.03954), its newest commit of 2026-04-23, and to github.com/kitsuyaazuma/SCARLET "
    "(Azuma et al., IEEE TMC 2026, arXiv 2504.19602), that of 2026-01-30; both were run on "
    "2026-11-30",
    confidence="certain: all three codes were run, and were read where they differ",
    published={},
    differences=(
        "Equal on all sides: 10 clients with 200 MNIST pictures each, dealt by fedkd "
        "(Dirichlet(0.5) mixes; another deal for each seed), MLP 784-200-10, the first weights of "
        "all clients and of the shared model of FML and FedKD, batches of 10 in the order of the "
        "client's memory, which HtFLlib never shuffles, SGD at 0.01 without momentum, one epoch "
        "a round, 20 rounds. Parameters of methods are those of HtFLlib's `total.sh`. DS-FL and "
        "SCARLET have T = 0.1 and beta = 2, and distil 5 steps at 0.1 a round, each on all of 500 "
        "transfer pictures that no client has.",
        "What HtFLlib does otherwise has no part in these runs: it leaves out the last batch of an "
        "epoch if it is not full (200 samples are 20 full ones), and it reports the best round. "
        "Here all are measured after the last one, on the whole test split.",
        "*Local* weighs the right answers of a class with the client's share of it, on all sides: "
        "public code was asked for its right answers once for each class.",
        "HtFLlib has FML's divergences as means over the ten classes, too, and half of each loss; "
        "ours have 10/11 and 1/11, and a rate of 0.0055, which is the same.",
        "FedKD's weight of the divergences cannot be made equal by a setting: as it is, HtFLlib "
        "has a tenth of ours. Our floor of the divisor is 0.000001; it has none.",
        "HtFLlib's FedGH and FedTGP train at the server in batches of another random order than "
        "ours; the network that makes FedTGP's prototypes and the matrix between FedKD's features "
        "start at other random weights.",
        "SCARLET's clients learn from a teacher at the beginning of the next round; its own "
        "function was called once more after the last round, where ours learn in the round. Its "
        "network, ResNet-20, and its data, CIFAR-10 with CIFAR-100, gave way to ours, and its "
        "clients' samples were not shuffled.",
    ),
)

CODES = dict.fromkeys(("dsfl", "scarlet", "scarlet_cache"), SCARLET)
"""Whose runs a method is put to, where they are not HtFLlib's."""

CHANGES: dict[str, dict[str, str]] = {
    "fedproto": {"means after the fit": "class means of the model as the fit leaves it"},
    "fedtgp": {"means of the new model": "class means of the model as the fit leaves it"},
    "fd": {
        "softmax, means after the fit": "softmax of the targets, and mean logits of the model as "
        "the fit leaves it"
    },
    "fml": {"targets without gradient": "no gradient into the targets of the divergences"},
    "fedkd_wu": {
        "whole matrices": "whole weight matrices travel",
        "own losses": "each loss trains its own model, the divisor has no gradient, and "
        "divergences are means over the batch alone",
        "whole matrices, own losses": "both of these",
    },
}
"""What was changed in the public code for further runs, by method: its name in the rows, and in
words."""

WITHOUT = {
    "fd": "no run ends with a number: in each of three the weights are none before the last round, "
    "with the first seed before the sixth"
}
"""Methods without a run of the public code as it is, and why."""

CAUSES = """## Where they differ, and why

- **FedProto.** HtFLlib averages the features that it sees while it trains, of a model that changes
  from batch to batch; fedkd those of the model as the fit leaves it. Changed to that, HtFLlib comes
  to our numbers.
- **FedTGP.** Its clients average the features of the model *before* the fit: they read its file
  before the new one is written, so prototypes are a round behind, and at first those of a model
  that has not learnt. After two rounds that shows, after twenty no longer.
- **FD.** It gives the mean logits themselves to the cross-entropy as targets, where probabilities
  are meant. Such a loss has no lower bound, and weights grow until they are no numbers. With the
  softmax of the targets, and means taken after the fit, it comes to our numbers.
- **FML.** Each of its two losses trains both models, as the targets of the divergences have
  gradients; in fedkd each loss trains its own. Without them it comes to our numbers.
- **FedKD.** It cuts the *weights* of the shared model to 95 to 98 % of their energy in either
  direction, where fedkd cuts their *updates*, as the paper does; its losses train both models, with
  the distance between features counted twice, and the divisor has a gradient, which rewards a
  larger cross-entropy. Neither alone explains the difference: with both changed it comes within
  half a point. What is left are the cut updates of ours and the first matrix between the features.
- **SCARLET with a cache of 5 rounds.** When a label expires, SCARLET's server asks clients for that
  sample, and then tells them that what they hold is still good; a round later it sends a new label
  that nobody keeps, and caches one the round after that. A label so lasts a round longer than its
  duration, and is asked for three times; in fedkd it is cached anew as it expires. Where all
  samples of a round are cached, its worker stops with an error, as its empty answer has not the
  shape of the buffer: it was given one that fits.

None of these is a fault of fedkd's: the equations of its methods are in `strategies/`, with their
sources. Seconds are not compared: HtFLlib keeps its models in files, and was asked class by class.
"""

NOT_TRIED = """## Not tried

FedGen, FedMRL, FedL2G and FedKTL of HtFLlib: its FedGen is another method than the paper's and
ours, FedL2G and FedKTL are not in fedkd, and FedMRL was left out for time. SCARLET on its own data
and network: hours of the two cores that there were.
"""

HOW = """## How this was made

Ours is [a row a run](rows/cross_check.csv), theirs are [the figures of their
runs](rows/cross_check_public.csv) with the commit and what was changed. ± is the sample deviation
over seeds; differences are ours minus theirs, paired by seed, with half of Student's 95 %
interval. Seeds are of the deal and of the first weights. The verdict: *reproduced* if the interval
is within a point of zero both on the own mix and on all classes, *not reproduced* if it is not and
lies on one side of zero anywhere, else *undecided*.

Nothing of that code is here. HtFLlib was run from a script that fills its models with our first
weights, gives it the arrays of the second command below as its own files of samples, stands in for
two packages that it imports and does not need here (torchvision, h5py), reads its own files back
(`weights_only=False`) and stops after round 20, before it trains once more. SCARLET's handler and
trainer were run from another, client after client in one process, with the arrays that the same
command writes for DS-FL. HtFLlib's options, by its names:
`-lr 0.01 -lbs 10 -ls 1 -nc 10 -jr 1 -gr 20 -fd 200`; FedProto and FedTGP `-lam 10`, FedTGP
`-se 100 -mart 100`, FD `-lam 1`, FML `-al 0.5 -bt 0.5`, FedKD `-mlr 0.01 -Ts 0.95 -Te 0.98`, FedGH
`-slr 0.01 -se 1`. This goes on with what is missing of ours and writes this page anew:

<!-- not run: takes minutes, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.cross_check
python -m fedkd.experiments.reproduce.cross_check_export --to seed_0.npz --seed 0
python -m fedkd.experiments.reproduce.cross_check_page
```
"""

SHORT = """Two rounds of one seed: no verdict on the claim follows from it. FD as HtFLlib has it has
numbers until then.
"""
