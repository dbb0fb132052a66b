"""Membership inference: who can tell whether a sample was in a client's training data.

Scores (see `fedkd.privacy.membership`), a higher one says "member":

- ``loss``: minus the cross-entropy (Yeom et al., CSF 2018).
- ``lira``: offline LiRA against shadow models (Carlini et al., S&P 2022).
- ``rmia``: offline RMIA against the same shadow models (Zarifzadeh et al., ICML 2024).
- ``coop``: LiRA whose "out" models are the other attacked clients', which never saw the sample: no
  training. Shi, Ouyang and Wang, arXiv 2502.08001 (idea: certain, abstract; a reconstruction).

What an adversary has of a client (the *access*):

- ``model``: queries to the client's final model. A reference for how much there is to find: in
  fusion on a transfer set nobody has it; where parameters are shared, it is the global model.
- ``knowledge``: the client's uploads, and nothing else: the honest-but-curious server. Of soft
  labels or logits it distils a surrogate on the transfer set and scores that ("Students Parrot
  Their Teachers", arXiv 2303.03446: LiRA on the student); shared parameters are the model as it
  was uploaded.
- ``teacher``: what one fellow client was taught, of which it distils a surrogate; the members are
  the samples of all other attacked clients. Its shadow teachers are means of shadow uploads, which
  is FedMD's fusion and an approximation of any other.

Shadow models are trained on held-out samples with the client's own label counts, architecture and
loop, and taught by the recorded teachers (`fedkd.leakage.shadows.replay`); for ``knowledge`` they
are distilled once more, like the surrogate they are compared with. The adversary knows the true
label of a candidate, the architecture, and samples like the client's; that is much, as is usual.
``control`` attacks a shadow model, which saw no candidate: it must be at chance.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..privacy.scores import auc, resolves, roc, tpr_at_fpr
from .base import Finding, Metrics, PrivacyAttack, metrics
from .bench import Bench
from .candidates import Pools
from .subject import Subject

RATES = {"tpr_1": 0.01, "tpr_01": 0.001}
"""False positive rates at which the true positive rate is reported."""
CURVE = 400
"""Points of a stored ROC curve."""


class Membership(PrivacyAttack):
    """Loss threshold, LiRA, RMIA and co-op LiRA on models, uploads and teachers.

    Parameters
    ----------
    clients : int
        Clients attacked, drawn at random; their scores are pooled.
    shadows : int
        Shadow models of each; 0 = only the attacks that need none.
    epochs : int
        Passes over the transfer set when knowledge is distilled into a surrogate.
    ratio : int
        Non-members per member, as far as there are held-out samples.
    population : int
        RMIA's population.
    """

    access = (
        "model: queries to the final model; knowledge: honest-but-curious server with a client's "
        "uploads; teacher: a fellow client with what it was taught."
    )
    brief: ClassVar[Mapping[str, Any]] = {"clients": 2, "shadows": 2, "epochs": 1}

    def __init__(
        self,
        clients: int = 10,
        shadows: int = 8,
        epochs: int = 20,
        ratio: int = 4,
        population: int = 500,
    ) -> None:
        for name, value, least in (
            ("clients", clients, 1),
            ("shadows", shadows, 0),
            ("epochs", epochs, 1),
            ("ratio", ratio, 1),
            ("population", population, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        self.clients, self.shadows, self.epochs = clients, shadows, epochs
        self.ratio, self.population = ratio, population

    def run(self, subject: Subject) -> Finding:
        """Score every access with every score."""
        finding = Finding()
        pools = Pools(subject, self.ratio)
        among = [k for k in subject.takers if len(pools.of(k).members)]
        if not among:
            problem = "no held-out samples of its clients' classes are left; use fewer or smaller "
            raise subject.refuse("membership", f"{problem}clients (data.samples_per_client)")
        targets = subject.drawn(self.clients, among)
        candidates = {k: pools.of(k) for k in targets}
        bench = Bench(subject, pools, candidates, self.shadows, self.epochs, self.population)
        for variant, scored in bench.variants(finding):
            self._add(finding, variant, targets, scored)
        self._notes(finding, pools)
        others = np.concatenate([own.others for own in candidates.values()])
        if len(np.unique(others)) < len(others):
            finding.note("Clients share non-members; intervals take all scores for independent.")
        return finding

    def _add(
        self, finding: Finding, variant: str, targets: Sequence[int], scored: list[Any]
    ) -> None:
        """Pool the clients' scores of one variant."""
        members = np.concatenate([member for member, _ in scored])
        others = np.concatenate([other for _, other in scored])
        each = [auc(*pair).value for pair in scored]
        finding.results[variant] = summary(members, others) | metrics(
            auc_std=float(np.std(each, ddof=1)) if len(each) > 1 else None
        )
        if len(scored) == len(targets):
            rows = zip(targets, each, strict=True)
            finding.details += [{"client": k, "variant": variant, "auc": one} for k, one in rows]
        false, true = roc(members, others)
        kept = np.unique(np.linspace(0, len(false) - 1, CURVE).astype(int))
        finding.curves[variant] = {"fpr": false[kept].tolist(), "tpr": true[kept].tolist()}

    def _notes(self, finding: Finding, pools: Pools) -> None:
        finding.note("Non-members have the label shares of the client's members.")
        if pools.from_test:
            finding.note("Held-out training samples were too few: some are of the test split.")
        fewest = min(int(row["nonmembers"] or 0) for row in finding.results.values())
        for name, rate in RATES.items():
            if not resolves(fewest, rate):
                finding.note(
                    f"TPR at {rate:.1%} FPR ({name}) is TPR at no false positive: it takes "
                    f"{round(1 / rate)} non-members, and there are {fewest}."
                )
        finding.note("Intervals are 95 %: AUC by DeLong, TPR by Clopper and Pearson.")


def summary(members: np.ndarray, others: np.ndarray) -> Metrics:
    """Return AUC, TPR at low FPR and how many samples they are of."""
    rates = {name: tpr_at_fpr(members, others, rate) for name, rate in RATES.items()}
    return metrics(auc=auc(members, others), **rates, members=len(members), nonmembers=len(others))
