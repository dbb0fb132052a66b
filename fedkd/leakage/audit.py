"""A one-run audit: an empirical lower bound on epsilon from a run as it is.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023: canaries
are in or out by independent fair coins, and an (epsilon, delta)-private run lets an auditor guess
right only so often (`fedkd.privacy.audit.audit_lower_bound`).

The coins here are the partition's: which of two samples of one class a client was dealt, and which
nobody was, is a fair coin, independent from pair to pair, given what the pairs are and how many
samples of each class a client has. So nothing need be planted, and every training sample of the
clients attacked is half of a canary, while there are samples that nobody holds to pair it with.
No sample is in two pairs, of one client or of two: the coins would not be independent. That holds
for partitioners that treat samples of one class alike (iid, dirichlet, pathological), not for those
that go by other columns of the data, and not between the train and test splits of sets like MNIST,
whose digits are of different writers.

To replace one half of a pair by the other is to *replace* one record: the bound is on epsilon under
replacement, up to twice that under adding or removing one. It is a bound on what these scores see,
not on what could be seen; planted mislabelled samples would be seen better.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from ..privacy.audit import audit_lower_bound
from .base import Finding, PrivacyAttack, metrics
from .bench import Bench, Scored
from .candidates import Pools
from .subject import Subject


class Audit(PrivacyAttack):
    """Lower bound on epsilon from guessing which of two alike samples a client was dealt.

    Parameters
    ----------
    access : {"knowledge", "model"}
        What the guesses are made from, see `fedkd.leakage.membership`. A mechanism on the uploads
        protects ``knowledge``; a client's own model is then no release.
    score : {"lira", "loss", "rmia"}
        How.
    clients : int
        Clients whose samples are canaries.
    guesses : float
        Share of the pairs, those told apart most clearly, that are guessed; in (0, 1]. Fix it in
        advance: the bound does not hold for the best of several.
    confidence : float
        In (0, 1).
    delta : float or None
        None = that of the run's accountant, or 0.
    shadows : int
        Shadow models of each client; 0 = only the score that needs none.
    epochs : int
        Passes over the transfer set when knowledge is distilled into a surrogate.
    use_test : bool
        Whether samples of the test split may be the other half of a pair. Only where the split was
        drawn at random, as that of the digits.
    """

    def __init__(
        self,
        access: Literal["knowledge", "model"] = "knowledge",
        score: Literal["lira", "loss", "rmia"] = "lira",
        clients: int = 20,
        guesses: float = 0.2,
        confidence: float = 0.95,
        delta: float | None = None,
        shadows: int = 8,
        epochs: int = 20,
        use_test: bool = False,
    ) -> None:
        if not 0 < guesses <= 1:
            raise ValueError(f"guesses={guesses} must be in (0, 1]")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence} must be in (0, 1)")
        if not 0 <= (delta or 0) < 1:
            raise ValueError(f"delta={delta} must be in [0, 1)")
        if score != "loss" and shadows < 2:
            raise ValueError(f"shadows={shadows} must be at least 2 for {score}")
        self.variant, self.clients, self.share = f"{access} / {score}", clients, guesses
        self.confidence, self.delta = confidence, delta
        self.shadows, self.epochs = shadows if score != "loss" else 0, epochs
        self.use_test = use_test

    access = "Auditor: the uploads (or the model) of each client, and pairs of candidates."
    brief: ClassVar[Mapping[str, Any]] = {"clients": 3, "shadows": 2, "epochs": 1}

    def run(self, subject: Subject) -> Finding:
        """Score both halves of every pair and guess."""
        finding = Finding()
        pools = Pools(subject, ratio=1, test=self.use_test)
        among = [k for k in subject.takers if len(pools.of(k).members)]
        if not among:
            problem = (
                "every training sample of its clients' classes is held by some client, so there is "
                "nothing to pair with; leave some over (data.samples_per_client), or use_test=true"
            )
            raise subject.refuse("audit", problem)
        targets = subject.drawn(self.clients, among)
        pairs = pools.pairs(targets)
        bench = Bench(subject, pools, pairs, self.shadows, self.epochs, population=500)
        for variant, scored in bench.variants(finding):
            if variant == self.variant:
                self._bound(finding, subject, scored)
                break
        else:
            raise subject.refuse("audit", f"{self.variant} cannot be had of this run")
        paired = sum(len(own.members) for own in pairs.values())
        held = sum(len(subject.federation.indices(k)) for k in targets)
        if paired < held:
            finding.note(
                f"{paired} of the clients' {held} samples are in a pair: samples that nobody holds "
                "are in one pair each, and of some classes there are too few."
            )
        finding.note("Epsilon is under replacement of one record: up to twice that of add/remove.")
        return finding

    def _bound(self, finding: Finding, subject: Subject, scored: Scored) -> None:
        margins = np.concatenate([member - other for member, other in scored])
        count = max(1, round(self.share * len(margins)))
        order = np.argsort(-np.abs(margins), kind="stable")[:count]
        correct = int((margins[order] > 0).sum())  # a tie is no right guess
        stated = subject.run.summary.get("privacy") or {}
        delta = float(stated.get("delta") or 0.0) if self.delta is None else self.delta
        bound = audit_lower_bound(correct, count, delta, self.confidence, len(margins))
        upper = stated.get("epsilon")
        finding.results[self.variant] = metrics(
            epsilon_at_least=bound,
            epsilon_at_most=None if upper is None else float(upper),
            correct=correct,
            guesses=count,
            pairs=len(margins),
        )
        finding.note(f"The lower bound holds with confidence {self.confidence:g}, delta {delta:g}.")
        if upper is None:
            finding.note("The run has no accountant, so there is no upper bound.")
